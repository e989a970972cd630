//! What somebody meant who wrote a word that nobody knows.

/// The one of `known` that was probably meant.
#[must_use]
pub fn meant<'a>(given: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let distance = |name: &str| strsim::damerau_levenshtein(given, name);
    let nearest = known.into_iter().min_by_key(|name| distance(name))?;
    // A third of the letters: `unlisetd`, `nta`, not any other word.
    (distance(nearest) <= given.chars().count() / 3).then_some(nearest)
}

/// The end of a message about such a word: `; did you mean shop_db?`, or nothing.
#[must_use]
pub fn suggestion<'a>(given: &str, known: impl IntoIterator<Item = &'a str>) -> String {
    meant(given, known).map(|name| format!("; did you mean {name}?")).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn near_words_are_suggested_and_others_not() {
        let known = ["shop_front", "shop_db", "br-a"];
        for (given, name) in [
            ("shop_bd", Some("shop_db")),
            ("shopdb", Some("shop_db")),
            ("shop-front", Some("shop_front")),
            ("br-b", Some("br-a")),
            ("backoffice", None),
            ("x", None),
            ("", None),
        ] {
            assert_eq!(meant(given, known), name, "{given}");
        }
        assert_eq!(suggestion("shop_bd", known), "; did you mean shop_db?");
        assert_eq!(suggestion("shop_bd", []), "");
    }
}
