//! Spark's patterns of dates and times (`yyyy-MM-dd HH:mm:ss`), which are Java's: compiled once, used for many rows.
//!
//! The zone is UTC, names are English. `[…]` is optional when reading; `'…'` is text.

use std::iter::Peekable;
use std::str::Chars;

use super::calendar::{DAY, Date, MONTHS, WEEKDAYS, weekday};

/// A compiled pattern.
#[derive(Debug, PartialEq)]
pub(super) struct DatePattern(Vec<Item>);

#[derive(Clone, Debug, PartialEq)]
enum Item {
    Text(String),
    Field(char, usize),
    Optional(Vec<Item>),
}

const LETTERS: &str = "GyuDMLdQqEaHhKkmsSVzOXxZ";

impl DatePattern {
    /// # Errors
    /// A letter without a meaning, or brackets that do not match.
    pub(super) fn new(pattern: &str) -> Result<Self, String> {
        let mut letters = pattern.chars().peekable();
        let items = items(&mut letters, false).map_err(|what| {
            format!("[INVALID_DATETIME_PATTERN] {what} in the pattern '{pattern}'; hint: 'yyyy-MM-dd HH:mm:ss'")
        })?;
        Ok(DatePattern(items))
    }

    /// A time as text.
    pub(super) fn format(&self, micros: i64) -> String {
        let mut text = String::new();
        write(&self.0, micros, &mut text);
        text
    }

    /// A time from text, in microseconds; `None` when the text is not of this pattern.
    pub(super) fn parse(&self, text: &str) -> Option<i64> {
        let mut read = Read { month: 1, day: 1, year: 1970, ..Read::default() };
        let rest = read.items(&self.0, text)?;
        if rest.is_empty() { read.micros() } else { None }
    }
}

fn items(letters: &mut Peekable<Chars>, inside: bool) -> Result<Vec<Item>, String> {
    let mut items = Vec::new();
    let mut text = String::new();
    while let Some(letter) = letters.next() {
        match letter {
            '\'' if letters.next_if_eq(&'\'').is_some() => text.push('\''),
            '\'' => loop {
                match letters.next() {
                    Some('\'') if letters.next_if_eq(&'\'').is_some() => text.push('\''),
                    Some('\'') => break,
                    Some(other) => text.push(other),
                    None => return Err("a quote without its end".to_owned()),
                }
            },
            '[' | ']' => {
                if !text.is_empty() {
                    items.push(Item::Text(std::mem::take(&mut text)));
                }
                match (letter, inside) {
                    ('[', _) => items.push(Item::Optional(self::items(letters, true)?)),
                    (_, true) => return Ok(items),
                    (_, false) => return Err("a ] without its [".to_owned()),
                }
            }
            'A'..='Z' | 'a'..='z' => {
                if !LETTERS.contains(letter) {
                    return Err(format!("the letter {letter} has no meaning"));
                }
                if !text.is_empty() {
                    items.push(Item::Text(std::mem::take(&mut text)));
                }
                let mut count = 1;
                while letters.next_if_eq(&letter).is_some() {
                    count += 1;
                }
                items.push(Item::Field(letter, count));
            }
            other => text.push(other),
        }
    }
    if inside {
        return Err("a [ without its ]".to_owned());
    }
    if !text.is_empty() {
        items.push(Item::Text(text));
    }
    Ok(items)
}

fn write(items: &[Item], micros: i64, out: &mut String) {
    let days = micros.div_euclid(DAY);
    let of_day = micros.rem_euclid(DAY);
    let date = Date::of_days(days);
    let hour = of_day / 3_600_000_000;
    for item in items {
        let (letter, count) = match item {
            Item::Text(text) => {
                out.push_str(text);
                continue;
            }
            Item::Optional(inner) => {
                write(inner, micros, out);
                continue;
            }
            Item::Field(letter, count) => (*letter, *count),
        };
        let quarter = i64::from(date.month - 1) / 3 + 1;
        let written = match (letter, count) {
            ('G', _) => (if date.year > 0 { "AD" } else { "BC" }).to_owned(),
            ('y' | 'u', 2) => format!("{:02}", date.year.rem_euclid(100)),
            ('y' | 'u', _) => format!("{:0count$}", date.year),
            ('D', _) => format!("{:0count$}", date.day_of_year()),
            ('M' | 'L', 1 | 2) => format!("{:0count$}", date.month),
            ('M' | 'L', 3) => MONTHS[date.month as usize - 1][..3].to_owned(),
            ('M' | 'L', _) => MONTHS[date.month as usize - 1].to_owned(),
            ('d', _) => format!("{:0count$}", date.day),
            ('Q' | 'q', 1 | 2) => format!("{quarter:0count$}"),
            ('Q' | 'q', 3) => format!("Q{quarter}"),
            ('Q' | 'q', _) => ["1st", "2nd", "3rd", "4th"][quarter as usize - 1].to_owned() + " quarter",
            ('E', 1..=3) => WEEKDAYS[weekday(days)][..3].to_owned(),
            ('E', _) => WEEKDAYS[weekday(days)].to_owned(),
            ('a', _) => (if hour < 12 { "AM" } else { "PM" }).to_owned(),
            ('H', _) => format!("{hour:0count$}"),
            ('h', _) => format!("{:0count$}", (hour + 11) % 12 + 1),
            ('K', _) => format!("{:0count$}", hour % 12),
            ('k', _) => format!("{:0count$}", (hour + 23) % 24 + 1),
            ('m', _) => format!("{:0count$}", of_day / 60_000_000 % 60),
            ('s', _) => format!("{:0count$}", of_day / 1_000_000 % 60),
            ('S', _) => format!("{:06}000", of_day % 1_000_000)[..count.min(9)].to_owned(),
            ('X', _) | ('Z', 5) => "Z".to_owned(),
            ('x', 1) => "+00".to_owned(),
            ('x', 2 | 4) | ('Z', 1..=3) => "+0000".to_owned(),
            ('x', _) => "+00:00".to_owned(),
            ('Z' | 'O', _) => "GMT".to_owned(),
            _ => "UTC".to_owned(),
        };
        out.push_str(&written);
    }
}

/// What has been read of a text.
#[derive(Clone, Default)]
struct Read {
    year: i64,
    month: u32,
    day: u32,
    day_of_year: Option<i64>,
    hour: i64,
    half: Option<bool>,
    minute: i64,
    second: i64,
    micros: i64,
    offset: i64,
}

impl Read {
    fn items<'t>(&mut self, items: &[Item], mut text: &'t str) -> Option<&'t str> {
        for (i, item) in items.iter().enumerate() {
            text = match item {
                Item::Text(expected) => text.strip_prefix(expected.as_str())?,
                Item::Optional(inner) => {
                    let mut tried = self.clone();
                    match tried.items(inner, text) {
                        Some(rest) => {
                            *self = tried;
                            rest
                        }
                        None => text,
                    }
                }
                Item::Field(letter, count) => {
                    let packed = matches!(items.get(i + 1), Some(Item::Field(next, n)) if is_number(*next, *n));
                    self.field(*letter, *count, packed, text)?
                }
            };
        }
        Some(text)
    }

    /// `packed`: the next field is a number as well, so this one has exactly its digits.
    fn field<'t>(&mut self, letter: char, count: usize, packed: bool, text: &'t str) -> Option<&'t str> {
        let most = match (letter, count) {
            ('y' | 'u', 2) => 2,
            ('y' | 'u', _) => 9,
            ('D', _) => 3,
            ('S', _) => count,
            _ => count.max(2),
        };
        let least = if letter == 'S' { 1 } else { count };
        let most = if packed { count } else { most };
        match (letter, count) {
            ('M' | 'L', 3) => return name(text, &MONTHS, 3).map(|(i, rest)| (self.month = i as u32 + 1, rest).1),
            ('M' | 'L', 4..) => return name(text, &MONTHS, 9).map(|(i, rest)| (self.month = i as u32 + 1, rest).1),
            ('E', 1..=3) => return name(text, &WEEKDAYS, 3).map(|(_, rest)| rest),
            ('E', _) => return name(text, &WEEKDAYS, 9).map(|(_, rest)| rest),
            ('a', _) => return name(text, &["AM", "PM"], 2).map(|(i, rest)| (self.half = Some(i == 1), rest).1),
            ('G', _) => return name(text, &["AD", "BC"], 2).map(|(_, rest)| rest),
            ('V' | 'z' | 'O' | 'X' | 'x' | 'Z', _) => return self.zone(text),
            _ => {}
        }
        let digits = text.bytes().take(most).take_while(u8::is_ascii_digit).count();
        if digits < least {
            return None;
        }
        let value: i64 = text[..digits].parse().ok()?;
        match letter {
            'y' | 'u' => self.year = if count == 2 { 2000 + value } else { value },
            'M' | 'L' => self.month = value as u32,
            'd' => self.day = value as u32,
            'D' => self.day_of_year = Some(value),
            'H' | 'K' => self.hour = value,
            'h' => self.hour = value % 12,
            'k' => self.hour = value % 24,
            'm' => self.minute = value,
            's' => self.second = value,
            'S' => self.micros = format!("{:0<6}", &text[..digits])[..6].parse().ok()?,
            _ => {}
        }
        Some(&text[digits..])
    }

    /// `Z`, `UTC`, `GMT`, `+02`, `+0200` or `+02:00`.
    fn zone<'t>(&mut self, text: &'t str) -> Option<&'t str> {
        if let Some(rest) = ["UTC", "GMT", "Z"].iter().find_map(|name| text.strip_prefix(name)) {
            return Some(rest);
        }
        let sign = match text.as_bytes().first()? {
            b'+' => 1,
            b'-' => -1,
            _ => return None,
        };
        let hours: i64 = text.get(1..3)?.parse().ok()?;
        let rest = &text[3..];
        let digits = rest.strip_prefix(':').unwrap_or(rest);
        let minutes = digits.get(..2).and_then(|digits| digits.parse::<i64>().ok());
        self.offset = sign * (hours * 60 + minutes.unwrap_or(0)) * 60_000_000;
        Some(if minutes.is_some() { &digits[2..] } else { rest })
    }

    fn micros(&self) -> Option<i64> {
        let date = Date { year: self.year, month: self.month, day: self.day };
        let fits = date.exists() && self.hour < 24 && self.minute < 60 && self.second < 60;
        let days = match self.day_of_year {
            Some(day) => Date { month: 1, day: 1, ..date }.days() + day - 1,
            None => date.days(),
        };
        let hour = if self.half == Some(true) { self.hour % 12 + 12 } else { self.hour };
        let of_day = ((hour * 60 + self.minute) * 60 + self.second) * 1_000_000 + self.micros;
        fits.then(|| days * DAY + of_day - self.offset)
    }
}

fn is_number(letter: char, count: usize) -> bool {
    "yuDdHhKkmsS".contains(letter) || ("MLQq".contains(letter) && count <= 2)
}

/// The name the text starts with, of which `letters` are written.
fn name<'t>(text: &'t str, names: &[&str], letters: usize) -> Option<(usize, &'t str)> {
    names.iter().enumerate().find_map(|(i, name)| {
        let name = &name[..letters.min(name.len())];
        let found = text.get(..name.len())?.eq_ignore_ascii_case(name);
        found.then(|| (i, &text[name.len()..]))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn micros(date: (i64, u32, u32), hour: i64, minute: i64, second: i64, micros: i64) -> i64 {
        let days = Date { year: date.0, month: date.1, day: date.2 }.days();
        days * DAY + ((hour * 60 + minute) * 60 + second) * 1_000_000 + micros
    }

    #[test]
    fn written() {
        let time = micros((2016, 4, 8), 15, 4, 9, 120_000);
        for (pattern, expected) in [
            ("y", "2016"),
            ("yyyy-MM-dd HH:mm:ss", "2016-04-08 15:04:09"),
            ("yyyy-MM-dd'T'HH:mm:ss.SSSXXX", "2016-04-08T15:04:09.120Z"),
            ("EEEE, d MMMM yy", "Friday, 8 April 16"),
            ("E d MMM h:mm a", "Fri 8 Apr 3:04 PM"),
            ("D Q QQQ", "99 2 Q2"),
            ("yyyyMMddHH", "2016040815"),
            ("'it''s' ss.SSSSSS", "it's 09.120000"),
            ("xxx Z z", "+00:00 +0000 UTC"),
            ("yyyy[-MM]", "2016-04"),
        ] {
            assert_eq!(DatePattern::new(pattern).expect(pattern).format(time), expected, "{pattern}");
        }
    }

    #[test]
    fn read() {
        for (pattern, text, expected) in [
            ("yyyy-MM-dd", "2016-12-31", Some(micros((2016, 12, 31), 0, 0, 0, 0))),
            ("yyyyMMdd", "20161231", Some(micros((2016, 12, 31), 0, 0, 0, 0))),
            ("d/M/yy H:m", "1/2/26 9:05", Some(micros((2026, 2, 1), 9, 5, 0, 0))),
            ("yyyy-MM-dd HH:mm:ss.SSS", "2016-12-31 00:12:00.5", Some(micros((2016, 12, 31), 0, 12, 0, 500_000))),
            ("yyyy-MM-dd HH:mm:ssXXX", "2016-12-31 02:00:00+02:00", Some(micros((2016, 12, 31), 0, 0, 0, 0))),
            ("MMM d yyyy hh:mm a", "Apr 8 2016 12:30 AM", Some(micros((2016, 4, 8), 0, 30, 0, 0))),
            ("yyyy-MM-dd[ HH:mm]", "2016-12-31", Some(micros((2016, 12, 31), 0, 0, 0, 0))),
            ("yyyy-MM-dd[ HH:mm]", "2016-12-31 10:30", Some(micros((2016, 12, 31), 10, 30, 0, 0))),
            ("HH:mm", "10:30", Some(micros((1970, 1, 1), 10, 30, 0, 0))),
            ("yyyy-MM-dd", "2016-02-30", None),
            ("yyyy-MM-dd", "2016-12-31 10", None),
            ("yyyy-MM-dd", "yesterday", None),
            ("HH", "24", None),
        ] {
            assert_eq!(DatePattern::new(pattern).expect(pattern).parse(text), expected, "{pattern}: {text}");
        }
    }

    #[test]
    fn refused() {
        for pattern in ["yyyy-bb", "yyyy'", "[yyyy", "yyyy]"] {
            assert!(
                DatePattern::new(pattern).expect_err(pattern).starts_with("[INVALID_DATETIME_PATTERN]"),
                "{pattern}"
            );
        }
    }
}
