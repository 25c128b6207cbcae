//! The `.env` file, read as Node's `dotenv` reads it: the old backend lives with the same file, and another reading of its secret would refuse
//! every token. Nothing is expanded, and of a name that stands there twice the last one counts.

use std::collections::HashMap;

use regex::Regex;

/// The names and values of a `.env` file.
#[derive(Default)]
pub struct DotEnv(HashMap<String, String>);

impl DotEnv {
    /// The file of the working folder, if there is one. What stands in it is not repeated: it may be a secret.
    ///
    /// # Errors
    /// One sentence.
    pub fn load() -> Result<Self, String> {
        match std::fs::read(".env") {
            Ok(bytes) => Ok(Self(parse(&String::from_utf8_lossy(&bytes)))),
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(Self::default()),
            Err(e) => Err(format!("The .env file cannot be read: {e}.")),
        }
    }

    /// The value of a name.
    pub(super) fn get(&self, name: &str) -> Option<String> {
        self.0.get(name).cloned()
    }
}

/// What JavaScript calls white space.
const SPACE: &str = r"[\t\n\x0b\x0c\r \x{a0}\x{1680}\x{2000}-\x{200a}\x{2028}\x{2029}\x{202f}\x{205f}\x{3000}\x{feff}]";

/// By the expression that dotenv has for a line since its version 15; such an expression matches the same here as there.
fn parse(text: &str) -> HashMap<String, String> {
    let (text, s) = (text.replace("\r\n", "\n").replace('\r', "\n"), SPACE);
    let name = format!(r"^{s}*(?:export{s}+)?([A-Za-z0-9_.-]+)(?:{s}*={s}*?|:{s}+?)");
    let value = format!(r#"({s}*'(?:\\'|[^'])*'|{s}*"(?:\\"|[^"])*"|{s}*`(?:\\`|[^`])*`|[^#\n]+)?"#);
    let Ok(line) = Regex::new(&format!(r"(?m){name}{value}{s}*(?:#[^\n]*)?$")) else { return HashMap::new() };
    line.captures_iter(&text).map(|found| (found[1].to_owned(), unquoted(found.get(2).map_or("", |value| value.as_str())))).collect()
}

/// A value without its quotes. Only double ones know `\n` and `\r`.
fn unquoted(text: &str) -> String {
    let text = text.trim_matches(|c: char| c.is_whitespace() || c == '\u{feff}');
    let quote = text.chars().next().filter(|c| matches!(c, '\'' | '"' | '`'));
    let inner = quote.and_then(|quote| text.strip_prefix(quote)?.strip_suffix(quote)).unwrap_or(text);
    if quote == Some('"') { inner.replace("\\n", "\n").replace("\\r", "\r") } else { inner.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What `dotenv` 16.6 makes of these lines.
    #[test]
    fn values_are_those_that_nodes_dotenv_reads() {
        for (text, expected) in [
            ("A=plain", "plain"),
            ("A=$xyz${HOME}", "$xyz${HOME}"),
            ("A=a#b", "a"),
            ("A=a # b", "a"),
            ("A='a # b'", "a # b"),
            ("A=\"a#b\" # c", "a#b"),
            ("A=`a'b\"c`", "a'b\"c"),
            ("A=a\\$b", "a\\$b"),
            ("A=\"a\\nb\"", "a\nb"),
            ("A='a\\nb'", "a\\nb"),
            ("A=a\\nb", "a\\nb"),
            ("A='a'b'", "a'b"),
            ("A=\"a\" b", "\"a\" b"),
            ("A=\"open", "\"open"),
            ("A=one\nA=two", "two"),
            ("A: b", "b"),
            ("\u{feff}A=b", "b"),
            ("export A=b", "b"),
            ("A = b ", "b"),
            ("A=\"two\nlines\"", "two\nlines"),
            ("A=a\r\nB=c", "a"),
            ("# A=x\nA=b", "b"),
            ("A=a b", "a b"),
            ("A=", ""),
            ("A=\nB=c", ""),
            ("A=a=b==", "a=b=="),
            ("A=\"a\\\"b\"", "a\\\"b"),
            ("not a line\nA=b", "b"),
        ] {
            assert_eq!(parse(text).get("A").map(String::as_str), Some(expected), "{text:?}");
        }
        assert_eq!(parse("MY A=b\nA:b").get("A"), None);
    }
}
