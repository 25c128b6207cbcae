//! Which web origins may use the server, and which address a request comes from. One implementation for REST, polling and websocket.

use std::{
    net::{IpAddr, SocketAddr},
    sync::Once,
};

use axum::http::{HeaderMap, HeaderValue, header};

/// The configured origins: exact ones, and patterns whose `*.` stands for one or more labels.
#[derive(Clone, Debug, Default)]
pub struct Origins(Vec<Origin>);

#[derive(Clone, Debug, PartialEq)]
struct Origin {
    scheme: String,
    host: String,
    port: u16,
    any_label: bool,
}

impl Origins {
    /// The patterns of a list such as `["https://app.example.com", "https://*.example.org:8443"]`; the first bad one is the error.
    pub fn parse<'a>(list: impl IntoIterator<Item = &'a str>) -> Result<Self, String> {
        list.into_iter().map(|o| Origin::parse(o).ok_or_else(|| o.to_owned())).collect::<Result<_, _>>().map(Self)
    }

    /// Whether a request with this `Origin` and `Host` comes from an allowed site. The server's own address is the same site.
    pub fn allow(&self, origin: &HeaderValue, host: Option<&HeaderValue>) -> bool {
        let Some(origin) = origin.to_str().ok().and_then(Origin::parse).filter(|o| !o.any_label) else { return false };
        origin.is_own(host) || self.0.iter().any(|pattern| pattern.matches(&origin))
    }

    /// Whether a request would make a websocket for a site that is not allowed: CORS does not hold those back.
    pub fn is_foreign_upgrade(&self, headers: &HeaderMap) -> bool {
        let protocols = headers.get_all(header::UPGRADE).iter().filter_map(|v| v.to_str().ok()).flat_map(|v| v.split(','));
        let is_upgrade = protocols.into_iter().any(|protocol| protocol.trim().eq_ignore_ascii_case("websocket"));
        let origin = headers.get(header::ORIGIN);
        is_upgrade && origin.is_some_and(|origin| !self.allow(origin, headers.get(header::HOST)))
    }
}

/// Whether a request comes from a web page: browsers send an `Origin`, and so do some libraries, which name the server's own address.
pub fn is_browser(headers: &HeaderMap) -> bool {
    let Some(origin) = headers.get(header::ORIGIN) else { return false };
    let is_own = origin.to_str().ok().and_then(Origin::parse).is_some_and(|origin| origin.is_own(headers.get(header::HOST)));
    !is_own || headers.get(header::USER_AGENT).is_some_and(|agent| agent.as_bytes().starts_with(b"Mozilla/"))
}

/// What a site is told that is not allowed.
pub const FOREIGN: &str = "Origin not allowed";

impl Origin {
    fn parse(text: &str) -> Option<Self> {
        let (scheme, rest) = text.trim_end_matches('/').split_once("://")?;
        let scheme = scheme.to_ascii_lowercase();
        let default_port = match scheme.as_str() {
            "http" => 80,
            "https" => 443,
            _ => 0,
        };
        let (any_label, rest) = match rest.strip_prefix("*.") {
            Some(rest) => (true, rest),
            None => (false, rest),
        };
        let (host, port) = match rest.rsplit_once(':') {
            Some((host, port)) if !port.ends_with(']') => (host, port.parse().ok()?),
            _ => (rest, default_port),
        };
        let clean = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | '[' | ']' | ':');
        let valid = !scheme.is_empty() && !host.is_empty() && !host.starts_with('.') && host.chars().all(clean);
        valid.then(|| Self { scheme, host: host.to_ascii_lowercase(), port, any_label })
    }

    /// Whether it is the address by which the server was asked.
    fn is_own(&self, host: Option<&HeaderValue>) -> bool {
        let host = host.and_then(|h| h.to_str().ok());
        host.and_then(|h| Self::parse(&format!("{}://{h}", self.scheme))).is_some_and(|own| own == *self)
    }

    fn matches(&self, origin: &Self) -> bool {
        let host = if self.any_label {
            origin.host.strip_suffix(&self.host).is_some_and(|labels| labels.len() > 1 && labels.ends_with('.'))
        } else {
            self.host == origin.host
        };
        host && self.scheme == origin.scheme && self.port == origin.port
    }
}

/// Addresses and networks of reverse proxies.
#[derive(Clone, Debug, Default)]
pub struct Proxies(Vec<(IpAddr, u8)>);

impl Proxies {
    /// The networks of a list such as `["127.0.0.1", "10.0.0.0/8"]`; the first bad one is the error.
    pub fn parse<'a>(list: impl IntoIterator<Item = &'a str>) -> Result<Self, String> {
        let network = |text: &str| {
            let (address, bits) = text.split_once('/').map_or((text, None), |(a, b)| (a, Some(b)));
            let address: IpAddr = address.parse().ok()?;
            let most = if address.is_ipv4() { 32 } else { 128 };
            let bits = bits.map_or(Some(most), |b| b.parse().ok())?;
            (bits <= most).then_some((address, bits))
        };
        list.into_iter().map(|t| network(t).ok_or_else(|| t.to_owned())).collect::<Result<_, _>>().map(Self)
    }

    /// Whether `address` is one of them.
    pub fn trust(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.0.iter().any(|(network, bits)| match (network, address) {
            (IpAddr::V4(n), IpAddr::V4(a)) => (n.to_bits() ^ a.to_bits()).checked_shr(32 - u32::from(*bits)).unwrap_or(0) == 0,
            (IpAddr::V6(n), IpAddr::V6(a)) => (n.to_bits() ^ a.to_bits()).checked_shr(128 - u32::from(*bits)).unwrap_or(0) == 0,
            _ => false,
        })
    }

    /// The client behind `peer`: the peer itself, or, when that is a known proxy, the rightmost address in `X-Forwarded-For` that is not one.
    pub fn client(&self, peer: IpAddr, headers: &HeaderMap) -> IpAddr {
        let mut client = peer.to_canonical();
        let forwarded = headers.get_all("x-forwarded-for").iter().filter_map(|v| v.to_str().ok()).flat_map(|v| v.split(','));
        let hops: Vec<&str> = forwarded.map(str::trim).collect();
        for hop in hops.iter().rev() {
            if !self.trust(client) {
                break;
            }
            let Some(address) = address_of(hop) else {
                static WARNED: Once = Once::new();
                WARNED.call_once(|| tracing::warn!("a proxy sends an X-Forwarded-For that is no address: its own counts for its clients"));
                break;
            };
            client = address.to_canonical();
        }
        client
    }
}

/// An address, with or without a port: some proxies name it, too.
fn address_of(hop: &str) -> Option<IpAddr> {
    let bare = || hop.strip_prefix('[')?.strip_suffix(']')?.parse().ok();
    hop.parse().ok().or_else(|| hop.parse::<SocketAddr>().ok().map(|address| address.ip())).or_else(bare)
}

/// The bearer token of an `Authorization` header.
pub fn bearer(headers: &HeaderMap) -> Option<&str> {
    let (scheme, token) = headers.get(header::AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim()).filter(|t| !t.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn allows(patterns: &[&str], origin: &str, host: &str) -> bool {
        let origins = Origins::parse(patterns.iter().copied()).expect("patterns parse");
        origins.allow(&HeaderValue::from_str(origin).expect("a header"), Some(&HeaderValue::from_str(host).expect("a header")))
    }

    #[test]
    fn origins_match_by_scheme_host_port_and_whole_labels() {
        let list = ["http://localhost:5173", "https://*.vercel.app", "https://site.example"];
        for good in [
            "http://localhost:5173",
            "https://x.vercel.app",
            "https://a.b.vercel.app",
            "https://site.example",
            "https://SITE.example:443",
            "http://api.test:5000",
        ] {
            assert!(allows(&list, good, "api.test:5000"), "{good}");
        }
        for bad in [
            "http://localhost:5174",
            "https://localhost:5173",
            "https://evil-localhost.io",
            "http://localhost.evil.com",
            "https://x.vercel.app.evil.com",
            "https://vercel.app",
            "https://evilvercel.app",
            "https://.vercel.app",
            "http://x.vercel.app",
            "http://site.example",
            "https://*.vercel.app",
            "null",
            "http://api.test:5001",
            "https://user@site.example",
        ] {
            assert!(!allows(&list, bad, "api.test:5000"), "{bad}");
        }
    }

    #[test]
    fn forwarded_addresses_count_only_from_known_proxies_and_from_the_right() {
        let proxies = Proxies::parse(["10.0.0.0/8", "::1"]).expect("networks parse");
        let client = |peer: &str, forwarded: &str| {
            let mut headers = HeaderMap::new();
            headers.insert("x-forwarded-for", HeaderValue::from_str(forwarded).expect("a header"));
            proxies.client(peer.parse().expect("an address"), &headers).to_string()
        };
        assert_eq!(client("203.0.113.9", "1.2.3.4"), "203.0.113.9");
        assert_eq!(client("10.1.1.1", "1.2.3.4"), "1.2.3.4");
        assert_eq!(client("10.1.1.1", "6.6.6.6, 1.2.3.4, 10.9.9.9"), "1.2.3.4");
        assert_eq!(client("::1", "nonsense"), "::1");
        assert_eq!(client("10.1.1.1", "203.0.113.9:40000"), "203.0.113.9");
        assert_eq!(client("10.1.1.1", "[2001:db8::1]:40000, 10.2.2.2:7"), "2001:db8::1");
        assert_eq!(client("10.1.1.1", "[2001:db8::1]"), "2001:db8::1");
        assert_eq!(client("::ffff:10.1.1.1", "1.2.3.4"), "1.2.3.4");
    }
}
