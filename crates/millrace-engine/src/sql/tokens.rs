//! A cursor over sqlparser's tokens, without white space and comments, with places for messages.

use sqlparser::tokenizer::{Location, Token, TokenWithSpan, Tokenizer, Whitespace};

use super::dialect::SparkDialect;
use crate::SqlError;

/// The dialect of pipelines.
pub(crate) const DIALECT: SparkDialect = SparkDialect;

/// Significant tokens of a text.
///
/// # Errors
/// A character or string that is no token.
pub(crate) fn tokenize(text: &str) -> Result<Vec<TokenWithSpan>, SqlError> {
    let tokens = Tokenizer::new(&DIALECT, text)
        .tokenize_with_location()
        .map_err(|error| SqlError::at(error.location, error.message))?;
    let tokens: Vec<TokenWithSpan> = tokens.into_iter().filter(|token| !is_space(&token.token)).collect();
    Ok(spark_spellings(tokens))
}

/// Spark's spellings that sqlparser reads as something else: `exists(xs, x -> …)` is a function, `2.5D` is a number,
/// `TRIM(BOTH FROM x)` trims spaces.
fn spark_spellings(tokens: Vec<TokenWithSpan>) -> Vec<TokenWithSpan> {
    let mut spelled: Vec<TokenWithSpan> = Vec::with_capacity(tokens.len());
    for (at, token) in tokens.iter().enumerate() {
        let followed_by = |places: usize| tokens.get(at + places).map(|next| &next.token);
        let subquery = |token: &Token| ["SELECT", "WITH", "FROM", "VALUES"].iter().any(|word| is_word(token, word));
        if is_word(&token.token, "EXISTS")
            && followed_by(1) == Some(&Token::LParen)
            && !followed_by(2).is_some_and(|next| subquery(next) || *next == Token::LParen)
        {
            spelled.push(TokenWithSpan { token: Token::make_word("exists_in", None), span: token.span });
            continue;
        }
        // TRIM(BOTH FROM x) trims spaces: sqlparser wants the FROM only after a text to trim.
        let side = |token: &Token| ["BOTH", "LEADING", "TRAILING"].iter().any(|word| is_word(token, word));
        if is_word(&token.token, "FROM") && spelled.last().is_some_and(|last| side(&last.token)) {
            continue;
        }
        if let (Token::Word(suffix), Some(last)) = (&token.token, spelled.last_mut())
            && let Token::Number(number, _) = &last.token
            && last.span.end == token.span.start
            && suffix.quote_style.is_none()
        {
            let number = match suffix.value.to_ascii_uppercase().as_str() {
                "D" | "F" => Some(format!("{number}e0")),
                "L" | "S" | "Y" | "BD" => Some(number.clone()),
                _ => None,
            };
            if let Some(number) = number {
                last.token = Token::Number(number, false);
                continue;
            }
        }
        spelled.push(token.clone());
    }
    spelled
}

/// The byte of `text` a place stands for; the text's length when the place is behind its end.
pub(crate) fn byte_of(text: &str, place: Location) -> usize {
    let mut start = 0;
    for (number, line) in (1..).zip(text.split_inclusive('\n')) {
        if number == place.line {
            let column = usize::try_from(place.column).unwrap_or(usize::MAX).saturating_sub(1);
            return start + line.char_indices().nth(column).map_or(line.len(), |(at, _)| at);
        }
        start += line.len();
    }
    text.len()
}

fn is_space(token: &Token) -> bool {
    matches!(
        token,
        Token::Whitespace(
            Whitespace::Space
                | Whitespace::Newline
                | Whitespace::Tab
                | Whitespace::SingleLineComment { .. }
                | Whitespace::MultiLineComment(_)
        )
    )
}

/// Is this token the unquoted word?
pub(crate) fn is_word(token: &Token, word: &str) -> bool {
    matches!(token, Token::Word(w) if w.quote_style.is_none() && w.value.eq_ignore_ascii_case(word))
}

/// Reads tokens from front to back.
pub(crate) struct Tokens<'a> {
    tokens: &'a [TokenWithSpan],
    at: usize,
    end: Location,
}

impl<'a> Tokens<'a> {
    /// `end` is the place after the last token.
    pub(crate) fn new(tokens: &'a [TokenWithSpan]) -> Self {
        let end = tokens.last().map_or(Location { line: 1, column: 1 }, |token| token.span.end);
        Tokens { tokens, at: 0, end }
    }

    pub(crate) fn peek(&self) -> Option<&'a Token> {
        self.tokens.get(self.at).map(|token| &token.token)
    }

    pub(crate) fn place(&self) -> Location {
        self.tokens.get(self.at).map_or(self.end, |token| token.span.start)
    }

    pub(crate) fn rest(&self) -> &'a [TokenWithSpan] {
        &self.tokens[self.at..]
    }

    pub(crate) fn next(&mut self) -> Option<&'a Token> {
        let token = self.peek()?;
        self.at += 1;
        Some(token)
    }

    /// Takes the word if it comes next.
    pub(crate) fn word(&mut self, word: &str) -> bool {
        let found = self.peek().is_some_and(|token| is_word(token, word));
        self.at += usize::from(found);
        found
    }

    /// Takes the token if it comes next.
    pub(crate) fn token(&mut self, wanted: &Token) -> bool {
        let found = self.peek() == Some(wanted);
        self.at += usize::from(found);
        found
    }

    pub(crate) fn expect_word(&mut self, word: &str) -> Result<(), SqlError> {
        if self.word(word) { Ok(()) } else { Err(self.unexpected(word)) }
    }

    pub(crate) fn expect(&mut self, wanted: &Token) -> Result<(), SqlError> {
        if self.token(wanted) { Ok(()) } else { Err(self.unexpected(&format!("`{wanted}`"))) }
    }

    pub(crate) fn unexpected(&self, wanted: &str) -> SqlError {
        let found = self.peek().map_or("the end of the statement".to_owned(), |token| format!("`{token}`"));
        SqlError::at(self.place(), format!("expected {wanted}, found {found}"))
    }

    /// A name: a word, quoted with backticks or not.
    pub(crate) fn name(&mut self, what: &str) -> Result<String, SqlError> {
        match self.peek() {
            Some(Token::Word(word)) => {
                self.at += 1;
                Ok(if word.quote_style.is_some() { word.value.clone() } else { word.value.to_lowercase() })
            }
            _ => Err(self.unexpected(what)),
        }
    }

    /// A string literal.
    pub(crate) fn string(&mut self, what: &str) -> Result<String, SqlError> {
        match self.peek() {
            Some(Token::SingleQuotedString(text) | Token::DoubleQuotedString(text)) => {
                self.at += 1;
                Ok(text.clone())
            }
            _ => Err(self.unexpected(what)),
        }
    }

    /// `( 'key' = 'value', … )`, with the place of each key. Keys may be dotted names without quotes.
    pub(crate) fn properties(&mut self) -> Result<Vec<(String, String, Location)>, SqlError> {
        self.expect(&Token::LParen)?;
        let mut properties = Vec::new();
        while !self.token(&Token::RParen) {
            if !properties.is_empty() {
                self.expect(&Token::Comma)?;
            }
            let place = self.place();
            let key = match self.peek() {
                Some(Token::Word(_)) => self.dotted_name()?,
                _ => self.string("a property name in quotes")?,
            };
            self.token(&Token::Eq);
            let value = match self.peek() {
                Some(Token::Number(number, _)) => {
                    self.at += 1;
                    number.clone()
                }
                Some(Token::Word(word)) if word.value.eq_ignore_ascii_case("true") => {
                    self.at += 1;
                    "true".into()
                }
                Some(Token::Word(word)) if word.value.eq_ignore_ascii_case("false") => {
                    self.at += 1;
                    "false".into()
                }
                _ => self.string("a property value in quotes")?,
            };
            properties.push((key, value, place));
        }
        Ok(properties)
    }

    fn dotted_name(&mut self) -> Result<String, SqlError> {
        let mut name = self.name("a property name")?;
        while self.token(&Token::Period) {
            name = format!("{name}.{}", self.name("a property name")?);
        }
        Ok(name)
    }
}
