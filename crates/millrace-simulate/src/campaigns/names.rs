//! Campaigns by name, and sets of them.

use std::fmt;

use millrace_model::names::did_you_mean;

/// A campaign: what goes on in the shop besides ordinary business.
///
/// Times are event time after the end of the ramp (the start, without one), at `campaign_interval_scale` 1; before it,
/// campaigns come at the same intervals, so that the past holds some too.
///
/// ```text
///  campaign               first    every    takes     entity    what is to be seen
///  card_testing            0:40    10 min   1–2 min   device    one device, 30–60 cards, small amounts, most declined
///  stolen_card             1:15    12 min   3–4 min   card      one card, 8–12 payments, rising, shipped far away
///  bot_scraping            1:50    15 min   2 min     device    up to 2,000 product_viewed, no cart
///  declines_then_success   2:30     9 min   2 min     device    5–8 declines on one order, then a success
///  account_takeover        3:20    14 min   3 min     user      failed sign-ins, new password and address, a purchase
///  impossible_travel       4:20    13 min   9 min     card      honest at home, minutes later from another continent
///  amount_out_of_habit     5:20    11 min   1 min     user      one payment of ten times the usual
///  promo_abuse             6:20    18 min   6 min     device    6–9 new accounts, one device, one address, WELCOME15
///  refund_abuse            7:20    20 min   20 min    user      4–6 orders, all refunded in full, nothing comes back
///  stock_out               8:20    25 min   5 min     product   a crowd buys one product out
///  oversell               10:00    30 min   4 min     product   two tills race: more is promised than there is
/// ```
///
/// `amount_out_of_habit` needs somebody with a habit (three orders in one visit) and waits for one, for some twenty
/// minutes in a shop without a past. Payments of a campaign are fraud (of `impossible_travel`, the second one), except:
/// those of `refund_abuse` carry its name but nothing is wrong with them, and those of a crowd (`stock_out`,
/// `oversell`) are honest and carry no name. Fraud that was authorised comes back as `chargeback_received` nine times
/// out of ten, `promo_abuse` never.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Campaign {
    /// Many cards tried from one device.
    CardTesting,
    /// One card emptied quickly.
    StolenCard,
    /// Somebody else signs in.
    AccountTakeover,
    /// One card in two far places.
    ImpossibleTravel,
    /// Tried until it works.
    DeclinesThenSuccess,
    /// Far more than usual.
    AmountOutOfHabit,
    /// Refunds without returns.
    RefundAbuse,
    /// One person, many first orders.
    PromoAbuse,
    /// A machine reads the catalogue.
    BotScraping,
    /// A product sells out.
    StockOut,
    /// A product is sold that is not there.
    Oversell,
}

impl Campaign {
    /// All of them.
    pub const ALL: [Campaign; 11] = [
        Campaign::CardTesting,
        Campaign::StolenCard,
        Campaign::AccountTakeover,
        Campaign::ImpossibleTravel,
        Campaign::DeclinesThenSuccess,
        Campaign::AmountOutOfHabit,
        Campaign::RefundAbuse,
        Campaign::PromoAbuse,
        Campaign::BotScraping,
        Campaign::StockOut,
        Campaign::Oversell,
    ];

    /// The name, as in settings and in the answer key.
    pub fn name(self) -> &'static str {
        match self {
            Campaign::CardTesting => "card_testing",
            Campaign::StolenCard => "stolen_card",
            Campaign::AccountTakeover => "account_takeover",
            Campaign::ImpossibleTravel => "impossible_travel",
            Campaign::DeclinesThenSuccess => "declines_then_success",
            Campaign::AmountOutOfHabit => "amount_out_of_habit",
            Campaign::RefundAbuse => "refund_abuse",
            Campaign::PromoAbuse => "promo_abuse",
            Campaign::BotScraping => "bot_scraping",
            Campaign::StockOut => "stock_out",
            Campaign::Oversell => "oversell",
        }
    }

    /// The campaign of a name.
    ///
    /// # Errors
    /// When there is none; the text says which there are.
    pub fn from_name(name: &str) -> Result<Campaign, UnknownCampaign> {
        Campaign::ALL
            .into_iter()
            .find(|campaign| campaign.name() == name)
            .ok_or_else(|| UnknownCampaign { name: name.to_owned() })
    }
}

/// A name no campaign has.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct UnknownCampaign {
    /// What was given.
    pub name: String,
}

impl fmt::Display for UnknownCampaign {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let hint = did_you_mean(&self.name, Campaign::ALL.map(Campaign::name));
        let all = Campaign::ALL.map(Campaign::name).join(", ");
        write!(f, "there is no campaign `{}`{hint}; campaigns are {all}", self.name)
    }
}

impl std::error::Error for UnknownCampaign {}

/// Which campaigns run.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct CampaignSet(u16);

impl CampaignSet {
    /// Every campaign.
    pub fn all() -> Self {
        Campaign::ALL.into_iter().collect()
    }

    /// Ordinary business only.
    pub fn none() -> Self {
        CampaignSet(0)
    }

    /// The campaigns of these names.
    ///
    /// # Errors
    /// When a name is not a campaign's.
    pub fn from_names<'a>(names: impl IntoIterator<Item = &'a str>) -> Result<Self, UnknownCampaign> {
        names.into_iter().map(Campaign::from_name).collect()
    }

    /// The set with one campaign switched on or off.
    #[must_use]
    pub fn with(self, campaign: Campaign, on: bool) -> Self {
        let bit = 1 << campaign as u16;
        CampaignSet(if on { self.0 | bit } else { self.0 & !bit })
    }

    /// True when a campaign runs.
    pub fn contains(self, campaign: Campaign) -> bool {
        self.0 & 1 << campaign as u16 != 0
    }
}

impl FromIterator<Campaign> for CampaignSet {
    fn from_iter<I: IntoIterator<Item = Campaign>>(campaigns: I) -> Self {
        campaigns.into_iter().fold(CampaignSet::none(), |set, campaign| set.with(campaign, true))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_go_round() {
        for campaign in Campaign::ALL {
            assert_eq!(Campaign::from_name(campaign.name()), Ok(campaign));
            assert!(CampaignSet::all().contains(campaign));
            assert!(!CampaignSet::all().with(campaign, false).contains(campaign));
        }
        let error = CampaignSet::from_names(["stolen_card", "card_testin"]).map_err(|error| error.to_string());
        let text = error.expect_err("a slip");
        assert!(text.starts_with("there is no campaign `card_testin`; did you mean `card_testing`?"), "{text}");
    }
}
