//! What a list route says when there is more than its answer holds: `X-Has-More`, and a `Link` to the rest.

use axum::{
    http::{HeaderName, HeaderValue, header},
    response::{IntoResponseParts, ResponseParts},
};

use crate::error::Error;
use crate::store::{Listed, NamedTicket};
use crate::wire::query::Params;

/// Where the rest of a list is.
pub struct Link {
    address: String,
    relation: &'static str,
}

const HAS_MORE: HeaderName = HeaderName::from_static("x-has-more");

impl Link {
    /// What is older is at this address.
    pub fn older(address: String) -> Self {
        Self { address, relation: "prev" }
    }

    /// What follows a page of ascending ids: newer ones when it was read `forward`, older ones else.
    pub fn beyond<T>(params: &Params, path: &str, forward: bool, page: &Listed<T>, id: impl Fn(&T) -> i64) -> Option<Self> {
        let (relation, bound, at) = if forward { ("next", "after", page.rows.last()) } else { ("prev", "before", page.rows.first()) };
        let at = at.filter(|_| page.has_more)?;
        Some(Self { address: params.elsewhere(path, &[(bound, id(at).to_string())]), relation })
    }

    /// What is older than a list of tickets.
    pub fn beyond_tickets(params: &Params, path: &str, page: &Listed<NamedTicket>) -> Option<Self> {
        let (last, _) = page.rows.last().filter(|_| page.has_more)?;
        Some(Self::older(params.elsewhere(path, &[("before", last.id.0.to_string())])))
    }
}

impl IntoResponseParts for Link {
    type Error = Error;

    fn into_response_parts(self, mut response: ResponseParts) -> Result<ResponseParts, Error> {
        let link = HeaderValue::try_from(format!("<{}>; rel=\"{}\"", self.address, self.relation)).map_err(Error::internal)?;
        response.headers_mut().insert(HAS_MORE, HeaderValue::from_static("true"));
        response.headers_mut().insert(header::LINK, link);
        Ok(response)
    }
}
