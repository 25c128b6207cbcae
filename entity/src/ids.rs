//! One type per kind of id, so that a user can never be taken for a conversation. No bare integer stands for an id elsewhere.

use sea_orm::{DbErr, TryFromU64};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::values::{column_type, id as read};

macro_rules! id {
    ($($(#[$doc:meta])* $name:ident),+ $(,)?) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, ToSchema)]
        #[serde(transparent)]
        #[schema(minimum = 1, maximum = 9007199254740991_i64, example = 7)]
        pub struct $name(pub i64);

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                self.0.fmt(f)
            }
        }

        impl From<i64> for $name {
            fn from(id: i64) -> Self {
                Self(id)
            }
        }

        impl From<$name> for i64 {
            fn from(id: $name) -> Self {
                id.0
            }
        }

        impl TryFromU64 for $name {
            fn try_from_u64(id: u64) -> Result<Self, DbErr> {
                i64::try_from_u64(id).map(Self)
            }
        }

        column_type!($name, i64, read);
    )+};
}

id! {
    /// A row of `users`.
    UserId,
    /// A row of `conversations`.
    ConversationId,
    /// A row of `messages`; a later message has a higher id.
    MessageId,
    /// A row of `support_tickets`.
    TicketId,
    /// A row of `support_messages`; a later message has a higher id.
    SupportMessageId,
}
