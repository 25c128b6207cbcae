//! The `.env` file, read as Node's `dotenv` reads it: the old backend lives with the same file, and another reading of its secret would refuse
//! every token. Nothing is expanded, and of a name that stands there twice the last one counts.

use std::collections::{BTreeSet, HashMap};

use regex::Regex;

use super::sources::is_read;

/// The names and values of a `.env` file.
#[derive(Default)]
pub struct DotEnv {
    text: String,
    values: HashMap<String, String>,
}

impl DotEnv {
    /// The file of the working folder, if there is one. What stands in it is not repeated: it may be a secret.
    ///
    /// # Errors
    /// One sentence.
    pub fn load() -> Result<Self, String> {
        match std::fs::read(".env") {
            Ok(bytes) => Ok(Self::read(&String::from_utf8_lossy(&bytes))),
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(Self::default()),
            Err(e) => Err(format!("The .env file cannot be read: {e}.")),
        }
    }

    fn read(text: &str) -> Self {
        let text = text.replace("\r\n", "\n").replace('\r', "\n");
        Self { values: parse(&text), text }
    }

    /// The value of a name.
    pub(super) fn get(&self, name: &str) -> Option<String> {
        self.values.get(name).cloned()
    }

    /// Of the names that are read here, those that another version of dotenv may read otherwise, each with the number of its last line: the old
    /// backend may have such a version.
    pub fn disputed(&self) -> Vec<(usize, String)> {
        let older = [
            // Version 14, which has comments behind a value, and those before, which have none. What 15 reads otherwise, backticks, so do these.
            by_line(&self.text, &format!(r#"^{SPACE}*([A-Za-z0-9_.-]+){SPACE}*={SPACE}*("[^"]*"|'[^']*'|.*?)({SPACE}+#.*)?$"#)),
            by_line(&self.text, &format!(r"^{SPACE}*([A-Za-z0-9_.-]+){SPACE}*={SPACE}*(.*)$")),
        ];
        let names: BTreeSet<&String> = older.iter().flat_map(HashMap::keys).chain(self.values.keys()).collect();
        let disputed =
            names.into_iter().filter(|name| is_read(name) && older.iter().any(|values| values.get(*name) != self.values.get(*name)));
        let mut found: Vec<_> = disputed.map(|name| (self.last_line_of(name), name.clone())).collect();
        found.sort();
        found
    }

    fn last_line_of(&self, name: &str) -> usize {
        let is_it = |line: &str| {
            let line = line.trim_start_matches(|c: char| c.is_whitespace() || c == '\u{feff}');
            let line = line.strip_prefix("export").map_or(line, str::trim_start);
            line.strip_prefix(name).is_some_and(|rest| rest.trim_start().starts_with(['=', ':']))
        };
        self.text.lines().enumerate().filter(|(_, line)| is_it(line)).last().map_or(0, |(at, _)| at) + 1
    }
}

/// What JavaScript calls white space.
const SPACE: &str = r"[\t\n\x0b\x0c\r \x{a0}\x{1680}\x{2000}-\x{200a}\x{2028}\x{2029}\x{202f}\x{205f}\x{3000}\x{feff}]";

const QUOTES: &[char] = &['\'', '"', '`'];

/// By the expression that dotenv has for a line since its version 16; such an expression matches the same here as there.
fn parse(text: &str) -> HashMap<String, String> {
    let s = SPACE;
    let name = format!(r"^{s}*(?:export{s}+)?([A-Za-z0-9_.-]+)(?:{s}*={s}*?|:{s}+?)");
    let value = format!(r#"({s}*'(?:\\'|[^'])*'|{s}*"(?:\\"|[^"])*"|{s}*`(?:\\`|[^`])*`|[^#\n]+)?"#);
    let Ok(line) = Regex::new(&format!(r"(?m){name}{value}{s}*(?:#[^\n]*)?$")) else { return HashMap::new() };
    let value = |text: &str| {
        let value = unquoted(text.trim_matches(is_space), QUOTES);
        if text.trim_start_matches(is_space).starts_with('"') { value.replace("\\n", "\n").replace("\\r", "\r") } else { value.to_owned() }
    };
    line.captures_iter(text).map(|found| (found[1].to_owned(), value(found.get(2).map_or("", |value| value.as_str())))).collect()
}

/// As the versions before 15 read a text, line by line.
fn by_line(text: &str, line: &str) -> HashMap<String, String> {
    let Ok(line) = Regex::new(line) else { return HashMap::new() };
    let value = |text: &str| {
        let value = unquoted(text, &QUOTES[..2]);
        if value == text {
            value.trim_matches(is_space).to_owned()
        } else if text.starts_with('"') {
            value.replace("\\n", "\n")
        } else {
            value.to_owned()
        }
    };
    let found = text.lines().filter_map(|text| line.captures(text));
    found.map(|found| (found[1].to_owned(), value(found.get(2).map_or("", |value| value.as_str())))).collect()
}

/// A value without its quotes.
fn unquoted<'a>(text: &'a str, quotes: &[char]) -> &'a str {
    let inner = |quote: &char| text.strip_prefix(*quote)?.strip_suffix(*quote);
    quotes.iter().find_map(inner).unwrap_or(text)
}

fn is_space(c: char) -> bool {
    c.is_whitespace() || c == '\u{feff}'
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
            assert_eq!(DotEnv::read(text).get("A").as_deref(), Some(expected), "{text:?}");
        }
        assert_eq!(DotEnv::read("MY A=b\nA:b").get("A"), None);
    }

    /// Where `dotenv` 10.0, 14.3, 15.0, 16.6, 17.4 and 18.0 are not of one mind. The black box asks the packages themselves.
    #[test]
    fn a_line_that_versions_of_dotenv_read_otherwise_is_known_by_its_number() {
        for (text, lines) in [
            ("HOST=a\n\nJWT_SECRET=ab#c\nPORT=1", vec![3]),
            ("JWT_SECRET=abc # comment", vec![1]),
            ("JWT_SECRET='abc' # comment", vec![1]),
            ("JWT_SECRET=`abc`", vec![1]),
            ("export JWT_SECRET=abc", vec![1]),
            ("JWT_SECRET: abc", vec![1]),
            ("JWT_SECRET=\"a\nb\"", vec![1]),
            ("JWT_SECRET=\"abc\" ", vec![1]),
            ("JWT_SECRET=\"a\\rb\"", vec![1]),
            ("JWT_SECRET=#abc", vec![1]),
            (r#"JWT_SECRET="a\"b # c""#, vec![1]),
            ("PORT=1\r\nJWT_SECRET=a#b", vec![2]),
            ("JWT_SECRET=one\nJWT_SECRET=t#wo\nDB_PASS=#", vec![2, 3]),
            ("JWT_SECRET='ab#c'\nDB_PASS=\"a b\"\nDB_USER=$a\\$b\nDB_NAME= a=b== \nDB_HOST='a'b'\nPORT=", vec![]),
            ("STRIPE_KEY=a # not read here", vec![]),
            ("\u{feff}JWT_SECRET=abc\r\n# a comment\r\nnonsense", vec![]),
        ] {
            let found: Vec<usize> = DotEnv::read(text).disputed().into_iter().map(|(line, _)| line).collect();
            assert_eq!(found, lines, "{text:?}");
        }
    }
}
