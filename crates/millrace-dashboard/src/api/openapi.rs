//! The API described for programs (OpenAPI 3.1), from one list that a test holds against the routes.

use serde_json::{Map, Value, json};

use crate::view::overview::Range;

/// Path, summary, media type of the answer, parameters.
pub(crate) const OPERATIONS: &[(&str, &str, &str, &[Parameter])] = &[
    ("/api/tables", "Tables with columns, keys and freshness", JSON, &[]),
    (
        "/api/tables/{name}",
        "Rows of a table, newest first. Any column is a condition too: column=value, column.gt=value (eq, ne, lt, le, \
         gt, ge; prefix on text). With .csv after the name: as CSV",
        JSON,
        &[
            ("name", "path", "Table, or table.csv", TEXT),
            ("since", "query", "Rows at or after this time (RFC 3339)", TIME),
            ("until", "query", "Rows before this time (RFC 3339)", TIME),
            ("limit", "query", "Most rows", COUNT),
            ("order", "query", "asc or desc", TEXT),
        ],
    ),
    (
        "/api/overview",
        "Tiles, revenue, pulse, funnel and categories",
        JSON,
        &[("store", "query", "One store", TEXT), ("range", "query", "How far back charts and sums go", RANGE)],
    ),
    (
        "/api/fraud/signals",
        "Attacks: signals grouped by rule and entity, newest first",
        JSON,
        &[
            ("rule", "query", "Only this rule", TEXT),
            ("severity", "query", "Only this severity", TEXT),
            ("range", "query", "Range of the chart", RANGE),
            ("limit", "query", "Most attacks", COUNT),
        ],
    ),
    (
        "/api/stock",
        "Stock levels with hours of cover, most urgent first",
        JSON,
        &[
            ("status", "query", "Only this state", TEXT),
            ("q", "query", "Words in name, id or category", TEXT),
            ("limit", "query", "Most products", COUNT),
        ],
    ),
    (
        "/api/sessions",
        "Closed sessions, one journey, flow, channels and abandoned carts",
        JSON,
        &[
            ("stage", "query", "Only sessions that ended at this stage", TEXT),
            ("session", "query", "The session whose journey is given", TEXT),
            ("limit", "query", "Most sessions", COUNT),
        ],
    ),
    (
        "/api/recommendations",
        "What goes with a product, with evidence, and what is in demand",
        JSON,
        &[
            ("product", "query", "Product; without it the one most in demand", TEXT),
            ("count", "query", "Most companions", COUNT),
            ("q", "query", "Words to find a product by", TEXT),
        ],
    ),
    (
        "/v1/recommendations",
        "What to show a visitor now; each item with its score, where it comes from and, if asked, what speaks for it",
        JSON,
        &[
            (
                "placement",
                "query",
                "next, similar, bought_together, trending, visitor, cart_reminder or one of the settings",
                TEXT,
            ),
            ("visitor", "query", "The visitor: the anonymous id of their events", TEXT),
            ("session", "query", "The session, when the client has ids of its own", TEXT),
            ("product", "query", "The product being looked at", TEXT),
            ("count", "query", "Items wanted, up to 200", COUNT),
            ("evidence", "query", "true: say why", TEXT),
        ],
    ),
    (
        "/v1/recommendations/comparison",
        "What the answers of each placement led to, and the uplift between placements that share traffic",
        JSON,
        &[],
    ),
    (
        "/v1/fraud/reviews",
        "Payments that were held, what must be decided soonest first, and how often each rule was right. Something is said of \
         one by POST of JSON to {payment_id}/verdict, assign or comment",
        JSON,
        &[
            ("state", "query", "open, overdue or decided", TEXT),
            ("order", "query", "deadline, score or amount", TEXT),
            ("assigned_to", "query", "Who looks at it, or nobody", TEXT),
            ("rule", "query", "Only what this rule is a reason of", TEXT),
            ("limit", "query", "Most payments", COUNT),
        ],
    ),
    (
        "/v1/fraud/lists",
        "Who is blocked, watched or allowed, and why. POST of JSON lists somebody, or takes them off",
        JSON,
        &[
            ("list", "query", "block, watch or allow", TEXT),
            ("kind", "query", "card, account, device, ip, network, bin, email, address or terminal", TEXT),
            ("q", "query", "Words in reason or name, or the whole entity", TEXT),
            ("limit", "query", "Most entities", COUNT),
        ],
    ),
    (
        "/v1/fraud/rules",
        "Rules that were changed while the scorer runs. POST of JSON tries, promotes or stops one",
        JSON,
        &[],
    ),
    ("/v1/fraud/scoreboard", "The scorer's decisions against the simulated shop's answer key, as they come", JSON, &[]),
    ("/api/kafka", "The cluster: brokers, topics, groups and their lag, as of the last look", JSON, &[]),
    (
        "/api/kafka/messages",
        "Records of a topic, personal data masked, within the limits of one look",
        JSON,
        &[
            ("topic", "query", "Topic", TEXT),
            ("partition", "query", "One partition", COUNT),
            ("from", "query", "newest, oldest, offset or time", TEXT),
            ("at", "query", "The offset, or the time: RFC 3339, or so long ago (15m)", TEXT),
            ("q", "query", "Text in key, value or headers as shown", TEXT),
            ("count", "query", "Most records, up to 200", COUNT),
        ],
    ),
    (
        "/api/health",
        "Progress of every table, dead letters, delivery of events",
        JSON,
        &[
            ("topic", "query", "Dead letters of this topic", TEXT),
            ("code", "query", "Dead letters with this cause", TEXT),
            ("limit", "query", "Most dead letters", COUNT),
        ],
    ),
    (
        "/events",
        "Server-sent events: a snapshot, then what changed. Give page or tables",
        "text/event-stream",
        &[
            ("page", "query", "A page's live sections, with that page's parameters", TEXT),
            ("tables", "query", "Rows of tables, separated by commas; resumable by Last-Event-ID", TEXT),
        ],
    ),
    ("/metrics", "Metrics for Prometheus", "text/plain", &[]),
    ("/healthz", "The process answers", "text/plain", &[]),
    ("/readyz", "Live rows come and the store answers", "text/plain", &[]),
];

const JSON: &str = "application/json";

/// Name, place, description, kind.
type Parameter = (&'static str, &'static str, &'static str, &'static str);

const TEXT: &str = "text";
const TIME: &str = "time";
const COUNT: &str = "count";
const RANGE: &str = "range";

/// The description.
pub(super) fn description() -> Value {
    let paths: Map<String, Value> = OPERATIONS
        .iter()
        .map(|(path, summary, media, parameters)| {
            let parameters: Vec<Value> = parameters.iter().map(parameter).collect();
            let operation = json!({
                "summary": summary,
                "parameters": parameters,
                "responses": {
                    "200": {"description": "The answer", "content": {(*media): {}}},
                    "default": {"description": "What is wrong (RFC 9457)", "content": {"application/problem+json": {}}},
                },
            });
            ((*path).to_owned(), json!({ "get": operation }))
        })
        .collect();
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Millrace dashboard", "version": env!("CARGO_PKG_VERSION"),
            "description": "Results of the streaming tables. Ids of persons are masked.",
        },
        "paths": paths,
    })
}

fn parameter((name, place, description, kind): &Parameter) -> Value {
    let schema = match *kind {
        TIME => json!({"type": "string", "format": "date-time"}),
        COUNT => json!({"type": "integer", "minimum": 1}),
        RANGE => json!({"type": "string", "enum": Range::ALL.map(Range::name)}),
        _ => json!({"type": "string"}),
    };
    json!({"name": name, "in": place, "description": description, "required": *place == "path", "schema": schema})
}
