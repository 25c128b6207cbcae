//! How texts are compared in a search: without regard to case, accents, width and the form in which a character is encoded, in every script
//! and on every database alike.

use unicode_normalization::{UnicodeNormalization, char::is_combining_mark};

/// The form in which texts are compared: decomposed (NFKD), without marks, in one case. `José`, `JOSE` and the full-width `ＪＯＳＥ` are `jose`,
/// `İstanbul` is `istanbul`, `STRASSE` and `straße` are `strasse`, and a final sigma is a sigma.
pub fn fold(text: &str) -> String {
    // There and back again: what differs in one of the two cases only, as ß and the two small sigmas, becomes the same.
    let cased = |c: char| c.to_lowercase().flat_map(char::to_uppercase).flat_map(char::to_lowercase);
    text.nfkd().filter(|c| !is_combining_mark(*c)).flat_map(cased).collect()
}

/// A text that is looked for as a part of others. Every character of it means itself.
pub struct Sought(String);

impl Sought {
    /// What is looked for.
    pub fn new(text: &str) -> Self {
        Self(fold(text))
    }

    /// Whether it is a part of this text.
    pub fn is_in(&self, text: &str) -> bool {
        self.is_in_folded(&fold(text))
    }

    /// Whether it is a part of a text that is [folded](fold) already. What folds to nothing is found nowhere.
    pub fn is_in_folded(&self, folded: &str) -> bool {
        !self.0.is_empty() && folded.contains(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_of_a_text_is_found_in_any_case_accent_width_and_form() {
        for (text, sought) in [
            ("Иван", "иван"),
            ("José", "JOSÉ"),
            ("José", "jose"),
            ("Jose\u{301}", "José"),
            ("José", "Jose\u{301}"),
            ("İbrahim", "ibrahim"),
            ("İstanbul", "ISTANBUL"),
            ("ıtır", "ITIR"),
            ("γιώργος", "ΓΙΩΡΓΟΣ"),
            ("ΓΙΩΡΓΟΣ", "γιωργος"),
            ("straße", "STRASSE"),
            ("STRASSE", "straße"),
            ("STRAẞE", "strasse"),
            ("Ａｎｎ＿１", "ann_1"),
            ("ann", "ＡＮＮ"),
            ("ﾊﾟﾘ", "パリ"),
            ("ﬁne", "FINE"),
            ("ÅNGSTRÖM", "\u{212b}ngstrom"),
            ("한국", "한국"),
            ("100% Bob", "% b"),
            ("b_b", "_"),
        ] {
            assert!(Sought::new(sought).is_in(text), "{sought} in {text}");
        }
        for (text, sought) in
            [("Bob", "_"), ("Bob", "%"), ("Bob", "bobby"), ("Bob", "\0"), ("Bob", ""), ("Jose\u{301}", "\u{301}"), ("Анна", "anna")]
        {
            assert!(!Sought::new(sought).is_in(text), "{sought} in {text}");
        }
    }
}
