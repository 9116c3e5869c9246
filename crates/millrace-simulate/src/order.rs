//! An order: what is bought, by whom, how it is paid and what will become of it.

use smallvec::SmallVec;

use crate::campaigns::Campaign;
use crate::catalogue::Catalogue;
use crate::people::{Address, Card, Who};

/// Units of one product.
#[derive(Clone, Copy, PartialEq, Eq, Debug, serde::Serialize, serde::Deserialize)]
pub(crate) struct Line {
    pub(crate) product: u32,
    pub(crate) quantity: u16,
}

pub(crate) type Lines = SmallVec<[Line; 4]>;

/// How it is paid.
#[derive(Clone, Copy, PartialEq, Eq, Debug, serde::Serialize, serde::Deserialize)]
pub(crate) enum Method {
    Card,
    Wallet,
    Invoice,
    BankTransfer,
}

impl Method {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Method::Card => "card",
            Method::Wallet => "wallet",
            Method::Invoice => "invoice",
            Method::BankTransfer => "bank_transfer",
        }
    }
}

/// A promotion.
#[derive(Clone, Copy, PartialEq, Eq, Debug, serde::Serialize, serde::Deserialize)]
pub(crate) enum Promo {
    /// For new accounts.
    Welcome15,
    Save10,
    News5,
}

impl Promo {
    pub(crate) fn code(self) -> &'static str {
        match self {
            Promo::Welcome15 => "WELCOME15",
            Promo::Save10 => "SAVE10",
            Promo::News5 => "NEWS5",
        }
    }

    fn percent(self) -> i64 {
        match self {
            Promo::Welcome15 => 15,
            Promo::Save10 => 10,
            Promo::News5 => 5,
        }
    }
}

/// What the answer key says about an order's payments.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug, serde::Serialize, serde::Deserialize)]
pub(crate) struct Label {
    pub(crate) fraud: bool,
    /// The campaign, and its slot among those under way.
    pub(crate) campaign: Option<(Campaign, u32)>,
}

/// What comes back from the customer.
#[derive(Clone, Copy, PartialEq, Eq, Debug, serde::Serialize, serde::Deserialize)]
pub(crate) enum Return {
    Nothing,
    /// All goods and the whole amount.
    Full,
    /// One line.
    Partial,
    /// The whole amount, and no goods: "never arrived".
    Abuse,
}

/// What will become of a placed order.
#[derive(Clone, Copy, PartialEq, Eq, Debug, serde::Serialize, serde::Deserialize)]
pub(crate) struct Fate {
    pub(crate) cancelled: bool,
    pub(crate) comes_back: Return,
    pub(crate) chargeback: bool,
}

/// The next thing to happen to a placed order.
#[derive(Clone, Copy, PartialEq, Eq, Debug, serde::Serialize, serde::Deserialize)]
pub(crate) enum Step {
    Cancel,
    /// Dispatch, tried so often before.
    Dispatch(u8),
    Refund,
    Chargeback,
}

/// An order, from the first payment attempt on.
#[derive(Clone, Debug, serde::Serialize, serde::Deserialize)]
pub(crate) struct Order {
    pub(crate) number: u64,
    /// Latest payment attempt.
    pub(crate) payment: u64,
    pub(crate) session: u64,
    pub(crate) who: Who,
    pub(crate) method: Method,
    pub(crate) card: Card,
    pub(crate) address: Address,
    pub(crate) promo: Option<Promo>,
    pub(crate) lines: Lines,
    pub(crate) discount_minor: i64,
    pub(crate) shipping_minor: i64,
    /// Sum of the lines − discount + shipping.
    pub(crate) amount_minor: i64,
    pub(crate) label: Label,
    pub(crate) fate: Fate,
    pub(crate) step: Step,
    /// When it was placed, microseconds.
    pub(crate) placed: i64,
    /// When the next step is due, microseconds.
    pub(crate) due: i64,
}

/// From here on, shipping is free.
const FREE_SHIPPING_MINOR: i64 = 5_000;
const SHIPPING_MINOR: i64 = 490;

impl Order {
    /// Composes an order of `lines`: what it costs follows from them and the promotion.
    #[expect(clippy::too_many_arguments, reason = "an order is the sum of these")]
    pub(crate) fn compose(
        catalogue: &Catalogue,
        number: u64,
        session: u64,
        who: Who,
        method: Method,
        card: Card,
        address: Address,
        promo: Option<Promo>,
        lines: Lines,
        label: Label,
    ) -> Self {
        let goods = lines_minor(catalogue, &lines);
        let discount_minor = promo.map_or(0, |promo| goods * promo.percent() / 100);
        let shipping_minor = if goods - discount_minor >= FREE_SHIPPING_MINOR { 0 } else { SHIPPING_MINOR };
        Order {
            number,
            payment: 0,
            session,
            who,
            method,
            card,
            address,
            promo,
            lines,
            discount_minor,
            shipping_minor,
            amount_minor: goods - discount_minor + shipping_minor,
            label,
            fate: Fate { cancelled: false, comes_back: Return::Nothing, chargeback: false },
            step: Step::Dispatch(0),
            placed: 0,
            due: 0,
        }
    }

    /// What the customer gets back for a line: its price less its share of the discount.
    pub(crate) fn line_refund_minor(&self, catalogue: &Catalogue, line: Line) -> i64 {
        let price = lines_minor(catalogue, &[line]);
        let goods = lines_minor(catalogue, &self.lines).max(1);
        price - (self.discount_minor * price + goods - 1) / goods
    }
}

fn lines_minor(catalogue: &Catalogue, lines: &[Line]) -> i64 {
    lines.iter().map(|line| catalogue.product(line.product).price_minor * i64::from(line.quantity)).sum()
}
