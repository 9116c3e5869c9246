//! People: customers with accounts and habits, guests who come once or again. Nothing about them is stored that their
//! number can tell: a person is a number, and everything else is thrown from it.

use std::collections::VecDeque;

use fake::Fake;
use fake::faker::address::en::StreetName;
use fake::faker::internet::en::FreeEmailProvider;
use fake::faker::name::en::{FirstName, LastName};
use millrace_model::Timestamp;
use millrace_model::time::{MINUTE_MICROS, SECOND_MICROS};
use sha2::{Digest, Sha256};

use crate::dice::{Dice, Weighted, scatter};
use crate::ids::{CUSTOMER, customer_of, person_of};
use crate::places::{self, PLACES};

/// Nobody comes back within this time of leaving: clearly more than the 30 minutes that end a session.
const AWAY_MICROS: i64 = 35 * MINUTE_MICROS;
/// Guests remembered to come again.
const GUESTS_MAX: usize = 65_536;

/// How somebody is seen by the shop.
#[derive(Clone, Copy, Debug, serde::Serialize, serde::Deserialize)]
pub(crate) struct Who {
    /// Number of the browser's cookie.
    pub(crate) anonymous: u64,
    /// Number of the device's fingerprint.
    pub(crate) device: u64,
    /// Number of the account; 0 when there is none.
    pub(crate) user: u64,
    /// Whose e-mail address, cards and home these are.
    pub(crate) person: u64,
    pub(crate) ip: u32,
    /// Index in [`PLACES`].
    pub(crate) place: u8,
    /// Index in [`AGENTS`].
    pub(crate) agent: u8,
    /// Index in [`CHANNELS`].
    pub(crate) channel: u8,
    pub(crate) signed_in: bool,
}

/// What a customer usually does.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Habits {
    /// Categories they come for.
    pub(crate) tastes: [u8; 2],
    /// Comes often and buys often.
    pub(crate) regular: bool,
}

/// A payment card, as the payment provider names it.
#[derive(Clone, Copy, Debug, serde::Serialize, serde::Deserialize)]
pub(crate) struct Card {
    /// Number of the token.
    pub(crate) token: u64,
    pub(crate) bin: u32,
    /// Index of a place in the issuer's country.
    pub(crate) place: u8,
}

/// A delivery address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub(crate) struct Address {
    /// House and street follow from it.
    pub(crate) number: u64,
    /// Index in [`PLACES`].
    pub(crate) place: u8,
}

/// Device types and their user agents.
pub(crate) static AGENTS: &[(&str, &str)] = &[
    (
        "mobile",
        "Mozilla/5.0 (iPhone; CPU iPhone OS 19_2 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/19.2 Mobile/15E148 Safari/604.1",
    ),
    (
        "mobile",
        "Mozilla/5.0 (Linux; Android 16; Pixel 10) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/142.0.0.0 Mobile Safari/537.36",
    ),
    (
        "mobile",
        "Mozilla/5.0 (Linux; Android 15; SM-S931B) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/141.0.0.0 Mobile Safari/537.36",
    ),
    ("mobile", "Mozilla/5.0 (Android 15; Mobile; rv:144.0) Gecko/144.0 Firefox/144.0"),
    (
        "desktop",
        "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/142.0.0.0 Safari/537.36",
    ),
    ("desktop", "Mozilla/5.0 (Windows NT 10.0; Win64; x64; rv:144.0) Gecko/20100101 Firefox/144.0"),
    (
        "desktop",
        "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/19.2 Safari/605.1.15",
    ),
    ("desktop", "Mozilla/5.0 (X11; Linux x86_64; rv:144.0) Gecko/20100101 Firefox/144.0"),
    (
        "tablet",
        "Mozilla/5.0 (iPad; CPU OS 19_2 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/19.2 Mobile/15E148 Safari/604.1",
    ),
    (
        "tablet",
        "Mozilla/5.0 (Linux; Android 15; SM-X710) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/141.0.0.0 Safari/537.36",
    ),
];

/// Where visitors come from, with the page that sent them.
pub(crate) static CHANNELS: &[(&str, &str)] = &[
    ("direct", ""),
    ("organic", "https://www.google.com/"),
    ("ads", "https://www.googleadservices.com/"),
    ("email", "https://mail.example.com/newsletter"),
    ("social", "https://www.instagram.com/"),
    ("referral", "https://blog.example.org/best-of"),
];

/// The people of the shop.
pub(crate) struct People {
    key: u64,
    customers: u32,
    started: Timestamp,
    /// Seconds after the start from which a customer may come (again).
    free_from: Vec<u32>,
    guests: VecDeque<(Who, Timestamp)>,
    places: Weighted,
    first_names: Vec<String>,
    last_names: Vec<String>,
    providers: Vec<String>,
    streets: Vec<String>,
}

impl People {
    pub(crate) fn new(seed: u64, customers: u32, started: Timestamp) -> Self {
        let mut dice = Dice::new(seed, 0x9e09);
        let mut pool = |count: usize, make: &dyn Fn(&mut Dice) -> String| -> Vec<String> {
            (0..count).map(|_| make(&mut dice).to_lowercase()).collect()
        };
        People {
            key: scatter(seed ^ 0x9e09),
            customers,
            started,
            first_names: pool(256, &|dice| FirstName().fake_with_rng(dice.generator())),
            last_names: pool(512, &|dice| LastName().fake_with_rng(dice.generator())),
            providers: pool(8, &|dice| FreeEmailProvider().fake_with_rng(dice.generator())),
            streets: pool(256, &|dice| StreetName().fake_with_rng(dice.generator())),
            free_from: vec![0; customers as usize],
            guests: VecDeque::new(),
            places: Weighted::new(&places::weights()),
        }
    }

    /// Number of people remembered to come again.
    pub(crate) fn guests(&self) -> usize {
        self.guests.len()
    }

    /// Somebody nobody has seen before.
    pub(crate) fn stranger(&self, number: u64) -> Who {
        let mut dice = self.dice_of(number, 0);
        let place = self.places.draw(&mut dice) as u8;
        let agent = dice.below(AGENTS.len() as u32) as u8;
        Who {
            anonymous: number,
            device: number,
            user: 0,
            person: number,
            ip: address_in(place, dice.bits()),
            place,
            agent,
            channel: channel(&mut dice),
            signed_in: false,
        }
    }

    /// A guest of some time ago, if one may come again.
    pub(crate) fn guest_again(&mut self, now: Timestamp, dice: &mut Dice) -> Option<Who> {
        if self.guests.front()?.1 > now {
            return None;
        }
        let (mut who, _) = self.guests.pop_front()?;
        who.channel = channel(dice);
        who.signed_in = false;
        Some(who)
    }

    /// A customer who is neither in the shop nor was until a moment ago; taken until [`People::leave`].
    pub(crate) fn customer(&mut self, now: Timestamp, dice: &mut Dice) -> Option<u32> {
        let regulars = (self.customers / 32).max(1);
        let second = self.second(now);
        for _ in 0..4 {
            let among = if dice.chance(0.3) { regulars } else { self.customers };
            let at = dice.below(among);
            if self.free_from[at as usize] <= second {
                self.free_from[at as usize] = u32::MAX;
                return Some(at);
            }
        }
        None
    }

    /// How a customer appears: `other_device` is the second one they own. `mark` is the incarnation: cookies do not
    /// outlive a restart, so that no session spans one.
    pub(crate) fn appearance(&self, customer: u32, other_device: bool, mark: u64) -> Who {
        let person = person_of(customer);
        let mut dice = self.dice_of(person, 1);
        let place = self.places.draw(&mut dice) as u8;
        let home = dice.bits();
        let (mobile, desktop) = (dice.below(4) as u8, 4 + dice.below(6) as u8);
        let device = person | u64::from(other_device);
        Who {
            anonymous: device | mark,
            device,
            user: person,
            person,
            ip: address_in(place, if other_device { home } else { scatter(home) }),
            place,
            agent: if other_device { desktop } else { mobile },
            channel: [0, 0, 0, 1, 3, 3][dice.below(6) as usize],
            signed_in: false,
        }
    }

    pub(crate) fn habits(&self, customer: u32) -> Habits {
        let mut dice = self.dice_of(person_of(customer), 2);
        Habits { tastes: [dice.below(12) as u8, dice.below(12) as u8], regular: customer < self.customers / 32 }
    }

    /// Somebody has left: they may come again, but not within the time that would continue their session.
    pub(crate) fn leave(&mut self, who: &Who, now: Timestamp, dice: &mut Dice) {
        let free = Timestamp(now.0 + AWAY_MICROS);
        if who.person & CUSTOMER != 0 {
            let second = self.second(free) + 1;
            if let Some(from) = self.free_from.get_mut(customer_of(who.person) as usize) {
                *from = second;
            }
        } else if self.guests.len() < GUESTS_MAX && dice.chance(0.3) {
            self.guests.push_back((*who, free));
        }
    }

    /// A customer uses their other device, now: if they have left, they stay away for longer.
    pub(crate) fn keep_away(&mut self, customer: u32, now: Timestamp) {
        let until = self.second(Timestamp(now.0 + AWAY_MICROS + 5 * MINUTE_MICROS));
        let from = &mut self.free_from[customer as usize];
        *from = (*from).max(until);
    }

    /// A card of a person; most use the first.
    pub(crate) fn card(&self, person: u64, nth: u8) -> Card {
        let mut dice = self.dice_of(person, 16 + u64::from(nth));
        let home = self.places.draw(&mut self.dice_of(person, u64::from(person & CUSTOMER != 0))) as u8;
        self.issued_in(home, &mut dice)
    }

    /// A card of somebody unknown, as a thief has many.
    pub(crate) fn stolen_card(&self, number: u64) -> Card {
        let mut dice = self.dice_of(number, 15);
        let place = self.places.draw(&mut dice) as u8;
        self.issued_in(place, &mut dice)
    }

    fn issued_in(&self, place: u8, dice: &mut Dice) -> Card {
        let token = dice.bits();
        let country = PLACES[usize::from(place)].country.as_bytes();
        let bank = scatter(self.key ^ u64::from_be_bytes([0, 0, 0, 0, country[0], country[1], 0, (token % 6) as u8]));
        let bin = if token.is_multiple_of(3) { 510_000 } else { 400_000 } + (bank % 50_000) as u32;
        Card { token, bin, place }
    }

    /// Where a person lives.
    pub(crate) fn home(&self, who: &Who) -> Address {
        Address { number: who.person, place: who.place }
    }

    /// SHA-256 of the person's e-mail address.
    pub(crate) fn email_hash(&self, person: u64) -> [u8; 32] {
        let mut dice = self.dice_of(person, 3);
        let first = dice.pick(&self.first_names);
        let last = dice.pick(&self.last_names);
        let provider = dice.pick(&self.providers);
        let unique = scatter(person ^ self.key) % 1_000_000;
        Sha256::digest(format!("{first}.{last}{unique}@{provider}")).into()
    }

    /// SHA-256 of the normalised address.
    pub(crate) fn address_hash(&self, address: Address) -> [u8; 32] {
        let mut dice = self.dice_of(address.number, 4);
        let house = 1 + dice.below(9_999);
        let street = dice.pick(&self.streets);
        let place = &PLACES[usize::from(address.place)];
        let unit = scatter(address.number) % 1_000_000;
        Sha256::digest(format!("{house} {street} {unit}, {}, {}", place.city, place.country)).into()
    }

    fn dice_of(&self, person: u64, stream: u64) -> Dice {
        Dice::new(self.key ^ person, stream)
    }

    fn second(&self, time: Timestamp) -> u32 {
        u32::try_from((time.0 - self.started.0) / SECOND_MICROS).unwrap_or(0).min(u32::MAX - 10)
    }
}

fn channel(dice: &mut Dice) -> u8 {
    [0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 3, 4, 4, 5][dice.below(14) as usize]
}

/// An address of a place's provider: the first two bytes tell the place.
pub(crate) fn address_in(place: u8, bits: u64) -> u32 {
    let network = 0x5000 + u32::from(place) * 0x101;
    let host = (bits >> 40) as u32 & 0xffff;
    network << 16 | host.clamp(0x0101, 0xfefe)
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: Timestamp = Timestamp(1_000 * SECOND_MICROS);

    #[test]
    fn people_are_who_they_are() {
        let people = People::new(5, 1_000, START);
        let again = People::new(5, 1_000, START);
        let (first, second) = (people.appearance(17, false, 0), again.appearance(17, true, 0));
        assert_eq!((first.user, first.place), (second.user, second.place));
        assert_ne!((first.device, first.anonymous, first.ip), (second.device, second.anonymous, second.ip));
        assert_eq!(people.email_hash(first.person), again.email_hash(second.person));
        assert_eq!(people.card(first.person, 0).token, again.card(first.person, 0).token);
        assert_eq!(people.card(first.person, 0).place, first.place, "cards are issued where their owner lives");
        let (one, other) = (people.stranger(1), people.stranger(2));
        assert_ne!(people.email_hash(one.person), people.email_hash(other.person));
        assert_ne!(people.address_hash(people.home(&one)), people.address_hash(people.home(&other)));
    }

    #[test]
    fn nobody_is_in_the_shop_twice_or_back_too_soon() {
        let mut people = People::new(5, 100, START);
        let mut dice = Dice::new(5, 0);
        let mut inside = std::collections::HashSet::new();
        for _ in 0..2_000 {
            if let Some(customer) = people.customer(START, &mut dice) {
                assert!(inside.insert(customer));
            }
        }
        assert!(inside.len() > 90);
        let who = people.appearance(7, false, 0);
        people.leave(&who, START, &mut dice);
        let mut comes =
            |after: i64| (0..2_000).any(|_| people.customer(Timestamp(START.0 + after), &mut dice) == Some(7));
        assert!(!comes(AWAY_MICROS - SECOND_MICROS));
        assert!(comes(AWAY_MICROS + 2 * SECOND_MICROS));
    }
}
