//! Lists that are read as far as an answer may go, in rows and in bytes: what does not fit is left in the database. The rows come one by one,
//! so a list is never in memory beyond its bound.

use entity::UserId;
use sea_orm::{DbErr, QueryResult, Statement};

use super::{InboxRow, Message, NamedTicket, Store, SupportMessage, Ticket, failure};
use crate::error::Result;

/// A part of a list, and whether there is more of it.
#[derive(Clone, Debug)]
#[expect(missing_docs, reason = "the line above says it")]
pub struct Listed<T> {
    pub rows: Vec<T>,
    pub has_more: bool,
}

impl<T> Default for Listed<T> {
    fn default() -> Self {
        Self { rows: Vec::new(), has_more: false }
    }
}

/// How far a list is read. A row that is too long by itself is given all the same, alone: nobody would ever get past it.
#[derive(Clone, Copy, Debug)]
pub struct Bound {
    /// At most so many rows; all of them when there is none.
    pub rows: Option<u64>,
    /// At most so many bytes of JSON.
    pub bytes: usize,
}

impl Bound {
    /// For a `LIMIT`: one more than is given, to know whether there is more.
    pub(super) fn to_read(self) -> Option<u64> {
        self.rows.map(|rows| rows.saturating_add(1))
    }

    fn admits(self, rows: usize, bytes: usize) -> bool {
        self.rows.is_none_or(|most| (rows as u64) < most) && (bytes <= self.bytes || rows == 0)
    }
}

/// What takes space in an answer.
pub trait Weighed {
    /// How many bytes of JSON it takes, at most.
    fn bytes(&self) -> usize;
}

/// More than the names, numbers, moments and commas of any row take.
const FRAME: usize = 512;

/// How many bytes a text takes in JSON.
fn escaped(text: &str) -> usize {
    let byte = |byte: u8| match byte {
        b'"' | b'\\' | 8..=10 | 12 | 13 => 2,
        0..32 => 6,
        _ => 1,
    };
    text.bytes().map(byte).sum()
}

fn row_of<'a>(texts: impl IntoIterator<Item = &'a String>) -> usize {
    FRAME + texts.into_iter().map(|text| escaped(text)).sum::<usize>()
}

impl Weighed for Message {
    fn bytes(&self) -> usize {
        row_of([&self.text])
    }
}

impl Weighed for SupportMessage {
    fn bytes(&self) -> usize {
        row_of([&self.text])
    }
}

impl Weighed for (SupportMessage, UserId) {
    fn bytes(&self) -> usize {
        self.0.bytes()
    }
}

impl Weighed for Ticket {
    fn bytes(&self) -> usize {
        row_of([&self.subject, &self.description, &self.category, &self.status, &self.priority])
    }
}

impl Weighed for NamedTicket {
    fn bytes(&self) -> usize {
        self.0.bytes() + row_of(&self.1)
    }
}

impl Weighed for InboxRow {
    fn bytes(&self) -> usize {
        let texts = [&self.other_name, &self.other_avatar, &self.other_role, &self.last_message];
        row_of(texts.into_iter().flatten())
    }
}

impl<T> Listed<T> {
    /// The same of something else.
    pub fn map<U>(self, form: impl FnMut(T) -> U) -> Listed<U> {
        Listed { rows: self.rows.into_iter().map(form).collect(), has_more: self.has_more }
    }
}

impl<T: Weighed> Listed<T> {
    /// Takes one more row, unless that is more than `bound` admits.
    pub(super) fn take(&mut self, row: T, bytes: &mut usize, bound: Bound) -> bool {
        *bytes += row.bytes();
        self.has_more = !bound.admits(self.rows.len(), *bytes);
        if !self.has_more {
            self.rows.push(row);
        }
        !self.has_more
    }
}

impl Store {
    /// The rows of a query, as far as `bound` admits.
    pub(super) async fn listed<T: Weighed + Send>(
        &self,
        statement: Statement,
        bound: Bound,
        read: impl Fn(&QueryResult) -> Result<T, DbErr> + Send + Sync,
    ) -> Result<Listed<T>> {
        let (mut listed, mut bytes) = (Listed::default(), 0);
        let taken = self.read.read_while(statement, |row| Ok(listed.take(read(&row)?, &mut bytes, bound)));
        taken.await.map_err(failure)?;
        Ok(listed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_weighs_what_its_json_is_long() {
        for text in ["", "plain", "\"quoted\" \\ \u{8}\t\n\u{b}\u{c}\r\u{1f}\u{7f}", "ü🌍\u{2028}", "\0\u{1}"] {
            let json = serde_json::to_string(text).expect("a text is JSON");
            assert_eq!(escaped(text), json.len() - 2, "{text:?}");
        }
    }

    #[test]
    fn a_list_ends_at_its_bound_and_a_row_that_is_too_long_comes_alone() {
        let ticket = |length: usize| (Ticket { subject: "x".repeat(length), ..ticket() }, None);
        let taken = |lengths: &[usize], bound: Bound| {
            let (mut listed, mut bytes) = (Listed::default(), 0);
            let all = lengths.iter().all(|length| listed.take(ticket(*length), &mut bytes, bound));
            assert_eq!(all, !listed.has_more);
            listed.rows.len()
        };
        let bound = Bound { rows: Some(3), bytes: 10_000 };
        assert_eq!(taken(&[1, 1, 1], bound), 3);
        assert_eq!(taken(&[1, 1, 1, 1], bound), 3);
        assert_eq!(taken(&[3900, 3900, 1], bound), 2);
        assert_eq!(taken(&[20_000, 1], bound), 1);
        assert_eq!(taken(&[1; 100], Bound { rows: None, bytes: usize::MAX }), 100);
    }

    fn ticket() -> Ticket {
        let (category, status, priority) = Default::default();
        let (created_at, updated_at) = Default::default();
        let (subject, description) = Default::default();
        let (id, owner) = (entity::TicketId(1), entity::UserId(1));
        Ticket { id, owner, subject, description, category, status, priority, created_at, updated_at }
    }
}
