//! The pages: their names, what they depend on, and their live sections.
//!
//! Each page has a room of its own here: `sections` (what is pushed) and `body` (the page around it). Both are made
//! from the same view, so that the first page and every push say the same.

mod alerts;
mod backtest;
mod fraud;
mod health;
mod journey;
mod kafka;
mod kit;
mod layout;
mod letters;
mod lists;
mod overview;
mod promises;
mod recommend;
mod reviews;
mod rules;
mod scoreboard;
mod sessions;
mod shapes;
mod stock;

use std::sync::Arc;

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use maud::Markup;

use crate::kafka::messages::{Answer, Wanted};
use crate::kafka::{Kafka, LOOK_MS_MIN};
use crate::params::Params;
use crate::section::Section;
use crate::shared::{Shared, now};
use crate::store::companions;
use crate::view;

/// A page of the dashboard.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Page {
    /// What the shop does.
    Overview,
    /// Attacks.
    Fraud,
    /// What was held, and what it was.
    Review,
    /// Who is blocked, watched or allowed.
    Lists,
    /// Rules that were changed.
    Rules,
    /// How well the scorer does.
    Scoreboard,
    /// What people were told.
    Alerts,
    /// What is left.
    Stock,
    /// Who came.
    Sessions,
    /// What goes together.
    Recommendations,
    /// How the product itself is.
    Health,
    /// What it runs on.
    Kafka,
    /// What could not be counted.
    DeadLetters,
}

/// Sections of a page, found by name.
pub(crate) struct Sections(Arc<Vec<Section>>);

impl Sections {
    /// The HTML of a section; empty when it has none.
    pub(crate) fn html(&self, name: &str) -> Markup {
        self.0.iter().find(|section| section.name == name).map(Section::markup).unwrap_or_default()
    }
}

impl Page {
    /// All pages, in the order of the navigation.
    pub(crate) const ALL: [Page; 13] = [
        Page::Overview,
        Page::Fraud,
        Page::Review,
        Page::Lists,
        Page::Rules,
        Page::Scoreboard,
        Page::Alerts,
        Page::Stock,
        Page::Sessions,
        Page::Recommendations,
        Page::Health,
        Page::Kafka,
        Page::DeadLetters,
    ];

    /// The page of the navigation it belongs to.
    pub(crate) fn chapter(self) -> Page {
        match self {
            Page::Review | Page::Lists | Page::Rules | Page::Scoreboard => Page::Fraud,
            Page::DeadLetters => Page::Health,
            page => page,
        }
    }

    /// The page of this name.
    pub(crate) fn named(name: &str) -> Option<Self> {
        Page::ALL.into_iter().find(|page| page.name() == name)
    }

    /// For programs.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Page::Overview => "overview",
            Page::Fraud => "fraud",
            Page::Review => "review",
            Page::Lists => "lists",
            Page::Rules => "rules",
            Page::Scoreboard => "scoreboard",
            Page::Alerts => "alerts",
            Page::Stock => "stock",
            Page::Sessions => "sessions",
            Page::Recommendations => "recommendations",
            Page::Health => "health",
            Page::Kafka => "kafka",
            Page::DeadLetters => "dead-letters",
        }
    }

    /// Its address.
    pub(crate) fn path(self) -> &'static str {
        match self {
            Page::Overview => "/",
            Page::Fraud => "/fraud",
            Page::Review => "/fraud/review",
            Page::Lists => "/fraud/lists",
            Page::Rules => "/fraud/rules",
            Page::Scoreboard => "/fraud/scoreboard",
            Page::Alerts => alerts::PATH,
            Page::Stock => "/stock",
            Page::Sessions => "/sessions",
            Page::Recommendations => "/recommendations",
            Page::Health => "/health",
            Page::Kafka => kafka::PATH,
            Page::DeadLetters => letters::PATH,
        }
    }

    /// For people.
    pub(crate) fn title(self) -> &'static str {
        match self {
            Page::Overview => "Overview",
            Page::Fraud => "Fraud",
            Page::Review => "Review",
            Page::Lists => "Lists",
            Page::Rules => "Rules",
            Page::Scoreboard => "Scoreboard",
            Page::Alerts => "Alerts",
            Page::Stock => "Stock",
            Page::Sessions => "Sessions",
            Page::Recommendations => "Recommendations",
            Page::Health => "Health",
            Page::Kafka => "Kafka",
            Page::DeadLetters => "Dead letters",
        }
    }

    /// For people with narrow screens.
    pub(crate) fn short_title(self) -> &'static str {
        if self == Page::Recommendations { "Recs" } else { self.title() }
    }

    /// Tables whose change changes the page.
    pub(crate) fn tables(self) -> &'static [&'static str] {
        match self {
            Page::Overview => {
                &["vitals", "store_metrics", "revenue_daily", "category_metrics", "fraud_signals", "job_progress"]
            }
            Page::Fraud => &["fraud_signals", "job_progress"],
            Page::Review => &["fraud_alerts", "fraud_verdicts", "fraud_lists"],
            Page::Lists => &["fraud_lists"],
            Page::Rules => &["fraud_rules"],
            Page::Scoreboard => &[],
            Page::Stock => &["stock_levels", "stock_cover"],
            Page::Sessions => &["sessions", "abandoned_carts", "session_funnel"],
            Page::Recommendations => &["seen_together", "bought_together", "trending", "stock_levels"],
            Page::Health => &["job_progress", "dead_letters", "ledger"],
            Page::DeadLetters => &["dead_letters"],
            Page::Alerts | Page::Kafka => &[],
        }
    }

    /// Parameters the page knows.
    pub(crate) fn params(self) -> &'static [&'static str] {
        match self {
            Page::Overview => &["store", "range"],
            Page::Fraud => &["rule", "severity", "range"],
            Page::Review => &["state", "order", "assigned_to", "rule"],
            Page::Lists => &["list", "kind", "q"],
            Page::Rules => &[],
            Page::Scoreboard => &[],
            Page::Alerts => &alerts::PARAMS,
            Page::Stock => &["status", "q"],
            Page::Sessions => &["stage", "session"],
            Page::Recommendations => &["product", "q"],
            Page::Health => &["topic", "code"],
            Page::DeadLetters => &letters::PARAMS,
            Page::Kafka => &["topic", "group", "role", "view", "from", "at", "partition", "q", "count"],
        }
    }

    /// People answer on it: it needs more than to be looked at.
    pub(crate) fn is_answered(self) -> bool {
        matches!(self, Page::Alerts | Page::DeadLetters)
    }

    /// Shortest time between two pushes, milliseconds, where the page changes as a whole with every commit.
    pub(crate) fn push_ms_min(self) -> u64 {
        let whole = [Page::Alerts, Page::DeadLetters, Page::Health, Page::Kafka, Page::Review];
        if whole.contains(&self) { 1_000 } else { 0 }
    }

    /// Changes when the page may look different: by its tables, and where the cluster or the clock
    /// counts, by time.
    pub(crate) fn stamp(self, shared: &Shared) -> u64 {
        let cache = shared.cache();
        let newest = self.tables().iter().filter_map(|name| cache.table(name)).map(|table| table.version).max();
        let beat = match self {
            Page::Health => now().0.unsigned_abs() / 1_000_000,
            // The store is asked: nobody tells when something has fired.
            Page::Alerts => (now().0.unsigned_abs() / 1_000_000).wrapping_add(shared.stirred() << 40),
            Page::DeadLetters => (now().0.unsigned_abs() / 5_000_000).wrapping_add(shared.stirred() << 40),
            Page::Kafka => now().0.unsigned_abs() / (1_000 * LOOK_MS_MIN),
            // What was held a moment ago, and what became late.
            Page::Review => now().0.unsigned_abs() / 2_000_000,
            // What has expired.
            Page::Lists => now().0.unsigned_abs() / 10_000_000,
            // How far a backtest is.
            Page::Rules => (now().0.unsigned_abs() / 1_000_000).wrapping_add(shared.stirred() << 40),
            Page::Scoreboard => now().0.unsigned_abs() / 2_000_000,
            _ => 0,
        };
        // The two never meet: versions grow by rows, the beat by seconds since 1970.
        newest.unwrap_or(0).wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ beat
    }

    /// The page's live sections as of now.
    pub(crate) async fn sections(self, shared: &Shared, params: &Params) -> Vec<Section> {
        let limit = shared.settings.limits.list_rows_max;
        match self {
            Page::Overview => {
                let cache = shared.cache();
                let view = view::overview::overview(&cache, &overview::params(params));
                let signals = view::fraud::groups(&cache);
                overview::sections(&view, &signals)
            }
            Page::Fraud => fraud::sections(&view::fraud::fraud(&shared.cache(), &fraud::params(params, limit)), params),
            Page::Review => {
                let wanted = crate::reviews::wanted(params, limit.min(reviews::LISTED_MAX));
                match crate::reviews::look(shared, &wanted).await {
                    Ok(queue) => reviews::sections(&queue, params),
                    Err(error) => reviews::trouble(&error.to_string()),
                }
            }
            Page::Lists => {
                lists::sections(&view::lists::lists(&shared.cache(), &lists::params(params, limit), now()), params)
            }
            Page::Rules => {
                let told = crate::service::measure(shared.services.measures.as_ref()).await;
                // Without the scoreboard the rules are there all the same.
                let report = told.ok().and_then(|told| scoreboard::read(told).ok()).and_then(|board| board.report);
                let shadows = report.map(|report| report.shadows).unwrap_or_default();
                rules::sections(&view::rules::rules(&shared.cache(), &shadows), backtest::look(shared).as_ref())
            }
            Page::Scoreboard => {
                let told = crate::service::measure(shared.services.measures.as_ref()).await;
                let board = told.map_err(|problem| problem.detail().to_owned()).and_then(scoreboard::read);
                match board {
                    Ok(board) => scoreboard::sections(&board),
                    Err(why) => scoreboard::trouble(&why),
                }
            }
            Page::Alerts => {
                let centre = crate::alerts::look(shared, &alerts::params(params, limit)).await;
                let centre = centre.map_err(|error| format!("the alerts cannot be read: {error}"));
                alerts::sections(centre.as_ref().map_err(String::as_str), params)
            }
            Page::DeadLetters => {
                let listing = crate::letters::look(shared, &letters::params(params, limit)).await;
                let listing = listing.map_err(|error| format!("the dead letters cannot be read: {error}"));
                letters::sections(listing.as_ref().map_err(String::as_str), params)
            }
            Page::Stock => stock::sections(&view::stock::stock(&shared.cache(), &stock::params(params, limit)), params),
            Page::Sessions => {
                let view = view::sessions::sessions(&shared.cache(), &sessions::params(params, limit));
                sessions::sections(&view, params)
            }
            Page::Recommendations => {
                let wanted = recommend::params(params, 12);
                recommend::sections(&recommended(shared, &wanted).await, params)
            }
            Page::Health => {
                let promises = crate::promises::look(shared).await;
                let counts = shared.clients.counts();
                let cache = shared.cache();
                let view = view::health::health(&cache, &shared.history(), &health::params(params, limit), now());
                let mut sections = health::sections(&view, params, &counts, shared.is_live());
                sections.push(promises::section(&promises));
                sections
            }
            Page::Kafka => match &shared.kafka {
                Some(cluster) => kafka::sections(&*cluster.look().await, params),
                None => Vec::new(),
            },
        }
    }
}

/// Recommendations for a product, with the store's pairs. A store that does not answer leaves those of the cache.
pub(crate) async fn recommended(
    shared: &Shared,
    params: &view::recommend::RecommendParams,
) -> view::recommend::Recommend {
    let (chosen, has_seen, has_bought) = {
        let cache = shared.cache();
        let has = |name: &str| cache.table(name).is_some();
        (view::recommend::chosen(&cache, params), has("seen_together"), has("bought_together"))
    };
    let mut pairs = [Vec::new(), Vec::new()];
    if let Some(product) = &chosen {
        let ms_max = shared.settings.limits.store_ms_max;
        let asked = [("seen_together", "sessions", has_seen), ("bought_together", "orders", has_bought)];
        for (at, (table, column, has)) in asked.into_iter().enumerate() {
            match companions(&shared.store, has, table, column, product, params.count, ms_max).await {
                Ok(rows) => pairs[at] = rows,
                Err(error) => tracing::warn!(table, %error, "companions are shown from memory only"),
            }
        }
    }
    let [seen, bought] = pairs;
    view::recommend::recommend(&shared.cache(), params, seen, bought)
}

/// The messages a query asks for; else, what is wrong with it.
pub(crate) async fn messages(shared: &Shared, cluster: &Kafka, params: &Params) -> Result<Arc<Answer>, String> {
    let topic = params.get("topic").ok_or("say which topic")?;
    let wanted = Wanted::of(params, topic, now())?;
    let look = cluster.look().await;
    let known = look.topics.iter().find(|known| known.name == topic);
    let known = known.ok_or_else(|| match look.trouble.first() {
        Some(trouble) => trouble.clone(),
        None => format!("there is no topic {topic}"),
    })?;
    let partitions: Vec<i32> = known.partitions.iter().map(|part| part.partition).collect();
    cluster.messages.find(&wanted, &partitions, cluster.contract(topic), &shared.settings.limits).await
}

/// Answers a page.
pub(crate) async fn show(page: Page, State(shared): State<Arc<Shared>>, params: Params) -> Response {
    let params = params.only(page.params());
    let view = params.query(page.name());
    let sections = shared.memo.get(&view, page.stamp(&shared), page.sections(&shared, &params)).await;
    let sections = Sections(sections);
    let body = match page {
        Page::Overview => {
            let view = view::overview::overview(&shared.cache(), &overview::params(&params));
            overview::body(&view, &sections, &params)
        }
        Page::Fraud => fraud::body(&sections, &params),
        Page::Review => reviews::body(&sections, &params),
        Page::Lists => lists::body(&sections, &params),
        Page::Rules => {
            let changed = view::rules::names(&shared.cache());
            rules::body(&sections, backtest::look(&shared).as_ref(), &changed)
        }
        Page::Scoreboard => scoreboard::body(&sections),
        Page::Alerts => alerts::body(&sections, &params),
        Page::DeadLetters => {
            let found = match params.get("id") {
                Some(id) => Some(crate::letters::one(&shared, id).await.map_err(|error| error.to_string())),
                None => None,
            };
            letters::body(&sections, &params, found)
        }
        Page::Stock => stock::body(&sections, &params),
        Page::Sessions => sessions::body(&sections),
        Page::Recommendations => recommend::body(&sections, &params),
        Page::Health => health::body(&sections, &shared.settings),
        Page::Kafka => match &shared.kafka {
            None => kafka::without(),
            Some(cluster) => {
                let found = match kafka::wants_messages(&params) {
                    true => Some(messages(&shared, cluster, &params).await),
                    false => None,
                };
                kafka::body(&sections, &params, shared.settings.kafka_ui.as_deref(), found.as_ref())
            }
        },
    };
    layout::page(page, &params, body).into_response()
}
