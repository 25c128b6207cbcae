//! JSON that nobody asked for: the values from which hostile events and bodies are made. All of it is well-formed; what is not stands in
//! `packets` and `requests`.

use crate::support::Dice;

/// Values of wrong types, at the ends of ranges, or with a meaning elsewhere.
const VALUES: &[&str] = &[
    "null",
    "true",
    "false",
    "0",
    "-0",
    "-1",
    "1.5",
    "1e3",
    "-0.0",
    "1E400",
    "1e-400",
    "2147483648",
    "-2147483649",
    "9007199254740991",
    "9007199254740992",
    "9007199254740993",
    "-9007199254740992",
    "9223372036854775807",
    "9223372036854775808",
    "-9223372036854775809",
    "18446744073709551616",
    "99999999999999999999999999999999999999",
    "\"\"",
    "\" \"",
    "\"\\u0000\"",
    "\"a\\u0000b\"",
    "\"\\ud800\"",
    "\"\\udfff\\ud800\"",
    "\"\\ud83d\"",
    "\"\\u202e\\u200b\\ufeff\"",
    "\"\\u00a0\\u2003\\u3000\"",
    "\"👩‍👩‍👧‍👦\"",
    "\"e\\u0301\\u0302\\u0303\\u0304\"",
    "\"' OR 1=1; --\"",
    "\"%00%ff../..\"",
    "\"<script>alert(1)</script>\"",
    "\"${jndi:ldap://x}\"",
    "\"NaN\"",
    "\"٧\"",
    "\" 7\"",
    "\"+7\"",
    "\"7.0\"",
    "\"0x7\"",
    "\"__proto__\"",
    "[]",
    "[[]]",
    "[null]",
    "[1,2,3]",
    "[\"1\",-1,1.5]",
    "{}",
    "{\"\":\"\"}",
    "{\"__proto__\":{\"isAdmin\":true}}",
    "{\"constructor\":{\"prototype\":{}}}",
    "{\"_placeholder\":true,\"num\":0}",
    "{\"type\":\"Buffer\",\"data\":[0]}",
    "{\"$gt\":0}",
    "  7  ",
    "[ 1 ,\t2\n]",
];

/// A value. Long and deep ones are rare.
pub fn value(dice: &mut Dice) -> String {
    match dice.below(4000) {
        0 => format!("\"{}\"", "x".repeat(900_000)),
        1 => format!("\"{}\"", "\\u0000".repeat(100_000)),
        2 => format!("[{}0]", "0,".repeat(200_000)),
        3..10 => format!("{}{}", "[".repeat(1000), "]".repeat(1000)),
        10..17 => format!("{}1{}", "{\"a\":".repeat(1000), "}".repeat(1000)),
        17..40 => format!("\"{}\"", "é".repeat(10_001)),
        40..400 => format!("\"{}\"", dice.below(20)),
        400..900 => dice.below(20).to_string(),
        900..1000 => format!("[{},{}]", dice.below(9), dice.below(9)),
        _ => dice.one_of(VALUES).to_owned(),
    }
}

/// An object of some of these fields, and of others.
pub fn object(dice: &mut Dice, names: &[&str]) -> String {
    let mut fields = Vec::new();
    for _ in 0..dice.below(6) {
        let name = if dice.once_in(12) { "unheardOf" } else { dice.one_of(names) };
        fields.push(format!("\"{name}\":{}", value(dice)));
    }
    format!("{{{}}}", fields.join(","))
}
