//! The types of columns whose rows others may have written: a database that is adopted has dates such as `1990-00-00`, flags of 7, unsigned
//! numbers, texts in no encoding. What cannot be read is null, so that one bad value never fails its row, nor the rows that are read with it.

use sea_orm::prelude::{Date, DateTime, DateTimeUtc};
use sea_orm::{ColIdx, DbErr, QueryResult, RuntimeErr, TryGetError, TryGetable, sqlx};

/// What SeaORM asks of the type of a column. It is written as an `$inner`, and read by `$read`.
macro_rules! column_type {
    ($name:ident, $inner:ty, $read:path) => {
        impl From<$name> for sea_orm::Value {
            fn from(value: $name) -> Self {
                <$inner>::from(value).into()
            }
        }

        impl sea_orm::TryGetable for $name {
            fn try_get_by<I: sea_orm::ColIdx>(row: &sea_orm::QueryResult, at: I) -> Result<Self, sea_orm::TryGetError> {
                $read(row, at).map(Self)
            }
        }

        impl sea_orm::sea_query::Nullable for $name {
            fn null() -> sea_orm::Value {
                <$inner as sea_orm::sea_query::Nullable>::null()
            }
        }

        impl sea_orm::sea_query::ValueType for $name {
            fn try_from(value: sea_orm::Value) -> Result<Self, sea_orm::sea_query::ValueTypeErr> {
                <$inner as sea_orm::sea_query::ValueType>::try_from(value).map(Self::from)
            }

            fn type_name() -> String {
                stringify!($name).to_owned()
            }

            fn array_type() -> sea_orm::sea_query::ArrayType {
                <$inner as sea_orm::sea_query::ValueType>::array_type()
            }

            fn column_type() -> sea_orm::sea_query::ColumnType {
                <$inner as sea_orm::sea_query::ValueType>::column_type()
            }
        }

        impl sea_orm::IntoActiveValue<$name> for $name {
            fn into_active_value(self) -> sea_orm::ActiveValue<$name> {
                sea_orm::ActiveValue::Set(self)
            }
        }
    };
}
pub(crate) use column_type;

macro_rules! value {
    ($(#[$doc:meta])* $name:ident, $inner:ty, $read:path) => {
        $(#[$doc])*
        #[derive(Clone, Debug, Default, PartialEq, Eq)]
        pub struct $name(pub $inner);

        impl From<$inner> for $name {
            fn from(inner: $inner) -> Self {
                Self(inner)
            }
        }

        impl From<$name> for $inner {
            fn from(value: $name) -> Self {
                value.0
            }
        }

        column_type!($name, $inner, $read);
    };
}

value! {
    /// A text.
    Text, String, text
}
value! {
    /// A moment in UTC.
    Moment, DateTimeUtc, moment
}
value! {
    /// A day.
    Day, Date, day
}

/// A flag: written as a truth, read as the number that stands for it. Zero is false.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Flag(pub i64);

impl Flag {
    /// Whether it is set.
    pub fn is_set(self) -> bool {
        self.0 != 0
    }
}

impl From<bool> for Flag {
    fn from(flag: bool) -> Self {
        Self(flag.into())
    }
}

impl From<Flag> for bool {
    fn from(flag: Flag) -> Self {
        flag.is_set()
    }
}

column_type!(Flag, bool, flag);

/// A whole number of any width, signed or not.
pub(crate) fn number<I: ColIdx>(row: &QueryResult, at: I) -> Result<i64, TryGetError> {
    i64::try_get_by(row, at)
        .or_else(|e| if is_null(&e) { Err(e) } else { i32::try_get_by(row, at).map(i64::from) })
        .or_else(|e| if is_null(&e) { Err(e) } else { i16::try_get_by(row, at).map(i64::from) })
        .or_else(|e| if is_null(&e) { Err(e) } else { u64::try_get_by(row, at).and_then(|n| i64::try_from(n).map_err(|_| null())) })
        .map_err(unreadable)
}

/// The number of a row, 0 when there is none: no row has that number.
pub(crate) fn id<I: ColIdx>(row: &QueryResult, at: I) -> Result<i64, TryGetError> {
    number(row, at).or_else(|e| if is_null(&e) { Ok(0) } else { Err(e) })
}

fn flag<I: ColIdx>(row: &QueryResult, at: I) -> Result<i64, TryGetError> {
    let truth = || bool::try_get_by(row, at).map(i64::from);
    // PostgreSQL alone has truths of their own; elsewhere they are numbers.
    if row.try_as_pg_row().is_some() { truth().or_else(|_| number(row, at)) } else { number(row, at).or_else(|_| truth()) }
        .map_err(unreadable)
}

fn text<I: ColIdx>(row: &QueryResult, at: I) -> Result<String, TryGetError> {
    let bytes = || Vec::<u8>::try_get_by(row, at).map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
    String::try_get_by(row, at).or_else(|e| if is_null(&e) { Err(e) } else { bytes() }).map_err(unreadable)
}

fn moment<I: ColIdx>(row: &QueryResult, at: I) -> Result<DateTimeUtc, TryGetError> {
    let unzoned = || DateTime::try_get_by(row, at).map(|moment| moment.and_utc());
    DateTimeUtc::try_get_by(row, at).or_else(|e| if is_null(&e) { Err(e) } else { unzoned() }).map_err(unreadable)
}

fn day<I: ColIdx>(row: &QueryResult, at: I) -> Result<Date, TryGetError> {
    let of_moment = || moment(row, at).map(|moment| moment.date_naive());
    Date::try_get_by(row, at).or_else(|e| if is_null(&e) { Err(e) } else { of_moment() }).map_err(unreadable)
}

fn null() -> TryGetError {
    TryGetError::Null(String::new())
}

fn is_null(e: &TryGetError) -> bool {
    matches!(e, TryGetError::Null(_))
}

/// What was read in vain is null, but a column that is not in the row at all is a mistake of ours.
fn unreadable(e: TryGetError) -> TryGetError {
    match &e {
        TryGetError::DbErr(DbErr::Query(RuntimeErr::SqlxError(cause)))
            if matches!(**cause, sqlx::Error::ColumnNotFound(_) | sqlx::Error::ColumnIndexOutOfBounds { .. }) =>
        {
            e
        }
        _ => null(),
    }
}
