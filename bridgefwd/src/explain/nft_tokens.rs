//! The words of `nft list ruleset`, with what is in quotes and braces kept together.

use super::ParseError;

/// A word.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Token {
    /// What it is.
    pub kind: Kind,
    /// Its line, from 1 on.
    pub line: usize,
    /// Where it begins and ends, in bytes.
    pub bytes: (usize, usize),
}

/// What a word is.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Kind {
    /// Letters without blanks.
    Word(String),
    /// What stood in quotes.
    Quoted(String),
    /// `{`, `}`, `;` or `,`.
    Sign(char),
    /// The end of a line.
    End,
}

impl Token {
    /// Its letters, quoted or not.
    #[must_use]
    pub fn text(&self) -> Option<&str> {
        match &self.kind {
            Kind::Word(text) | Kind::Quoted(text) => Some(text),
            Kind::Sign(_) | Kind::End => None,
        }
    }

    /// Is it this word, without quotes?
    #[must_use]
    pub fn is_word(&self, word: &str) -> bool {
        matches!(&self.kind, Kind::Word(this) if this == word)
    }

    /// Is it this sign?
    #[must_use]
    pub fn is_sign(&self, sign: char) -> bool {
        self.kind == Kind::Sign(sign)
    }
}

/// All words of a text; comments (`# handle 4`) are left out.
///
/// # Errors
///
/// A quote that is not closed.
pub fn tokens(text: &str) -> Result<Vec<Token>, ParseError> {
    let mut tokens = Vec::new();
    let mut line = 1;
    let mut letters = text.char_indices().peekable();
    while let Some((start, letter)) = letters.next() {
        let mut end = start + letter.len_utf8();
        let kind = match letter {
            '\n' => Kind::End,
            '{' | '}' | ';' | ',' => Kind::Sign(letter),
            '#' => {
                while letters.next_if(|(_, next)| *next != '\n').is_some() {}
                continue;
            }
            '"' => {
                let mut quoted = String::new();
                let closed = loop {
                    match letters.next() {
                        None | Some((_, '\n')) => break None,
                        Some((at, '"')) => break Some(at + 1),
                        Some((_, letter)) => quoted.push(letter),
                    }
                };
                let wrong =
                    || ParseError { line, what: format!("a quote is not closed: {quoted}") };
                end = closed.ok_or_else(wrong)?;
                Kind::Quoted(quoted)
            }
            blank if blank.is_whitespace() => continue,
            _ => {
                let mut word = String::from(letter);
                let goes_on = |letter: char| {
                    !letter.is_whitespace() && !matches!(letter, '{' | '}' | ';' | ',' | '"' | '#')
                };
                while let Some((at, next)) = letters.next_if(|(_, next)| goes_on(*next)) {
                    word.push(next);
                    end = at + next.len_utf8();
                }
                Kind::Word(word)
            }
        };
        line += usize::from(kind == Kind::End);
        tokens.push(Token { kind, line, bytes: (start, end) });
    }
    Ok(tokens)
}

/// Splits at a sign that is in no braces.
#[must_use]
pub fn split(tokens: &[Token], sign: char) -> Vec<&[Token]> {
    let mut depth = 0usize;
    let mut parts = Vec::new();
    let mut start = 0;
    for (index, token) in tokens.iter().enumerate() {
        match token.kind {
            Kind::Sign('{') => depth += 1,
            Kind::Sign('}') => depth = depth.saturating_sub(1),
            Kind::Sign(this) if this == sign && depth == 0 => {
                parts.push(&tokens[start..index]);
                start = index + 1;
            }
            _ => {}
        }
    }
    parts.push(&tokens[start..]);
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_quotes_and_signs() {
        let text = "iifname \"a b\" { 1, 2 }; # handle 3\nx";
        let tokens = tokens(text).unwrap();
        let kinds: Vec<&Kind> = tokens.iter().map(|token| &token.kind).collect();
        let word = |text: &str| Kind::Word(text.into());
        let expected = [
            word("iifname"),
            Kind::Quoted("a b".into()),
            Kind::Sign('{'),
            word("1"),
            Kind::Sign(','),
            word("2"),
            Kind::Sign('}'),
            Kind::Sign(';'),
            Kind::End,
            word("x"),
        ];
        assert_eq!(kinds, expected.iter().collect::<Vec<_>>());
        assert_eq!(&text[tokens[1].bytes.0..tokens[1].bytes.1], "\"a b\"");
        assert_eq!(split(&tokens, ',').len(), 1);
        assert_eq!(tokens[9].line, 2);
    }

    #[test]
    fn an_open_quote_is_an_error() {
        assert!(tokens("a\n\"b\n\"").is_err());
    }
}
