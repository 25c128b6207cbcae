//! The closed sets of a ticket's fields. Input is taken in any case, and with blanks or dashes for the underscore.

macro_rules! field {
    ($(#[$doc:meta])* $name:ident { $($variant:ident = $text:literal),+ $(,)? }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[expect(missing_docs, reason = "the names say it")]
        pub enum $name { $($variant),+ }

        impl $name {
            /// All of them, in the order in which they are told to people.
            pub const ALL: &[$name] = &[$($name::$variant),+];

            /// The form in which it is stored and shown.
            pub fn as_str(self) -> &'static str {
                match self { $($name::$variant => $text),+ }
            }

            /// The value that a text means, whatever its case.
            pub fn parse(text: &str) -> Option<Self> {
                let text = text.trim().to_lowercase().replace([' ', '-'], "_");
                match text.as_str() { $($text => Some($name::$variant),)+ _ => None }
            }

            /// The stored or shown form of a stored text: the lower-case one, or an unknown text as it is.
            pub fn shown(text: &str) -> &str {
                match Self::parse(text) {
                    Some(known) => known.as_str(),
                    None => text,
                }
            }
        }
    };
}

field! {
    /// What a ticket is about.
    Category { General = "general", Booking = "booking", Destination = "destination", Complaint = "complaint" }
}
field! {
    /// How far a ticket has come.
    Status { Open = "open", InProgress = "in_progress", Resolved = "resolved", Closed = "closed" }
}
field! {
    /// How urgent a ticket is.
    Priority { Low = "low", Medium = "medium", High = "high" }
}
