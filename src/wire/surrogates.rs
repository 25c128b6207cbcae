//! Half characters in JSON. A client that cuts a text between the two UTF-16 units of a character sends one of them as an escape, such as
//! `\\ud83d`. No UTF-8 text can hold it: it is read as U+FFFD, the replacement character, as the old backend's database stored it.

use std::borrow::Cow;

/// The JSON with each escape of a lone surrogate as one of U+FFFD.
pub fn replace_lone(json: &[u8]) -> Cow<'_, [u8]> {
    let mut mended = Cow::Borrowed(json);
    let mut at = 0;
    while let Some(found) = json.get(at..).and_then(|rest| rest.iter().position(|byte| *byte == b'\\')) {
        at += found;
        let Some(unit) = escaped_unit(json, at) else {
            at += 2;
            continue;
        };
        let is_pair = is_high(unit) && escaped_unit(json, at + 6).is_some_and(is_low);
        if !is_pair
            && (is_high(unit) || is_low(unit))
            && let Some(digits) = mended.to_mut().get_mut(at + 2..at + 6)
        {
            digits.copy_from_slice(b"fffd");
        }
        at += if is_pair { 12 } else { 6 };
    }
    mended
}

/// The UTF-16 unit of an escape that begins here.
fn escaped_unit(json: &[u8], at: usize) -> Option<u16> {
    let digits = json.get(at..at + 6)?.strip_prefix(b"\\u")?;
    let is_hex = digits.iter().all(u8::is_ascii_hexdigit);
    u16::from_str_radix(std::str::from_utf8(digits).ok().filter(|_| is_hex)?, 16).ok()
}

fn is_high(unit: u16) -> bool {
    (0xd800..0xdc00).contains(&unit)
}

fn is_low(unit: u16) -> bool {
    (0xdc00..0xe000).contains(&unit)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn half_a_character_is_replaced_and_everything_else_stays() {
        for (json, mended) in [
            (r#""\ud83d""#, r#""\ufffd""#),
            (r#""a\uDE00b""#, r#""a\ufffdb""#),
            (r#""\ud83d\ud83d\ude00""#, r#""\ufffd\ud83d\ude00""#),
            (r#""\ude00\ud83d""#, r#""\ufffd\ufffd""#),
            (r#""\\ud83d""#, r#""\\ud83d""#),
            (r#""\\\ud83d""#, r#""\\\ufffd""#),
            (r#""\ud83d\u0041\n""#, r#""\ufffd\u0041\n""#),
            (r#""\ud8"#, r#""\ud8"#),
            (r#""\u+d83""#, r#""\u+d83""#),
            ("\"\\", "\"\\"),
            ("\"😀\"", "\"😀\""),
        ] {
            assert_eq!(std::str::from_utf8(&replace_lone(json.as_bytes())), Ok(mended), "{json}");
        }
    }
}
