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
        "/v1/alerts",
        "What fired, gathered by whom it is about: values, messages, who looks after it. Open first, then the newest",
        JSON,
        &[
            ("state", "query", "Only open, snoozed, acknowledged or over", TEXT),
            ("severity", "query", "Only critical, high, medium, low or info", TEXT),
            ("route", "query", "Only of this route", TEXT),
            ("q", "query", "A part of entity or title", TEXT),
            ("since", "query", "Fired within 1h, 24h (usual), 7d or all", TEXT),
            ("limit", "query", "Most entities", COUNT),
        ],
    ),
    (
        "/v1/dead-letters",
        "Records set aside: which, why, and whether they were repaired or sent again; numbers by topic, kind and cause",
        JSON,
        &[
            ("topic", "query", "Only of this topic", TEXT),
            ("kind", "query", "Only malformed, late or sink", TEXT),
            ("code", "query", "Only with this cause", TEXT),
            ("q", "query", "A part of the reason", TEXT),
            ("state", "query", "Only open (not sent again) or sent", TEXT),
            ("since", "query", "Set aside at or after: RFC 3339, or so long ago (2h)", TEXT),
            ("until", "query", "Set aside before: RFC 3339, or so long ago", TEXT),
            ("limit", "query", "Most letters", COUNT),
        ],
    ),
    (
        "/v1/dead-letters/{id}",
        "One letter: place, reason, bytes (masked), repair, when it was sent again",
        JSON,
        &[("id", "path", "Its id, percent-encoded", TEXT)],
    ),
    (
        "/v1/fraud/reviews",
        "Payments that were held, what must be decided soonest first, and how often each rule was right.",
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
        "Who is blocked, watched or allowed, and why",
        JSON,
        &[
            ("list", "query", "block, watch or allow", TEXT),
            ("kind", "query", "card, account, device, ip, network, bin, email, address or terminal", TEXT),
            ("q", "query", "Words in reason or name, or the whole entity", TEXT),
            ("limit", "query", "Most entities", COUNT),
        ],
    ),
    ("/v1/fraud/rules", "Rules that were changed while the scorer runs", JSON, &[]),
    (
        "/v1/fraud/backtest",
        "The newest backtest: state (none, running, done, failed, stopped), how far it is, what came of it as it runs and on \
         trial; the rules there are, and what a backtest may take",
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

/// Path, summary, fields of the body: name, description, type. The body is JSON, from a page of ours or from a program.
pub(crate) const WRITES: &[(&str, &str, &[Field])] = &[
    ("/v1/alerts/{id}/ack", "Somebody looks after it: it is told no more", &[BY, ENTITY]),
    ("/v1/alerts/{id}/unack", "Nobody does after all: what was called off is told again", &[BY, ENTITY]),
    (
        "/v1/alerts/{id}/snooze",
        "Nothing about its entity for a while; what fires meanwhile is told afterwards",
        &[BY, ("for", "How long: 30m, 4h, at most 30d; 1h when nothing is said", "string")],
    ),
    ("/v1/alerts/{id}/unsnooze", "Tell of its entity again", &[BY]),
    (
        "/v1/dead-letters/repair",
        "Keep another value for one letter, or patch many; nothing is sent",
        &[
            BY,
            IDS,
            FILTER,
            ("value", "The value, for one letter; ⟦1⟧ stands for what is hidden in it", "string"),
            ("patch", "JSON patch (RFC 6902) for each of them", "array"),
            DRY_RUN,
            ("unchecked", "Also values that still break their contract", "boolean"),
        ],
    ),
    (
        "/v1/dead-letters/redrive",
        "Send letters again to the topics they came from, each once unless forced",
        &[
            BY,
            IDS,
            FILTER,
            DRY_RUN,
            ("force", "Also those that were sent before", "boolean"),
            ("unchecked", "Also those that still break their contract", "boolean"),
            ("late", "Also late ones", "boolean"),
        ],
    ),
    (
        "/v1/fraud/reviews/{id}/verdict",
        "What a held payment was: the model learns it",
        &[SAYS, ("verdict", "fraud or legitimate", "string"), ("comment", "Remark", "string")],
    ),
    (
        "/v1/fraud/reviews/{id}/assign",
        "Who looks at a held payment",
        &[SAYS, ("assigned_to", "Their name; null: nobody", "string")],
    ),
    ("/v1/fraud/reviews/{id}/comment", "A remark on a held payment", &[SAYS, ("comment", "Remark", "string")]),
    (
        "/v1/fraud/lists",
        "Put an entity on a list, or take it off; it is named outright, by a held payment of theirs, or by its entry",
        &[
            SAYS,
            ("list", "block, watch or allow; null takes it off", "string"),
            ("kind", "What it is: card, account, device, …", "string"),
            ("entity", "Its name, as transactions has it", "string"),
            ("payment_id", "A held payment of theirs: its card, account or device", "string"),
            ("entry", "The id of an entry", "string"),
            ("reason", "Why", "string"),
            ("expires", "For how long (30d), or until when", "string"),
            ("rules", "With allow: the rules that do not hold it", "array"),
        ],
    ),
    (
        "/v1/fraud/rules",
        "Change a rule while the scorer runs; what is not said of it stays as it was",
        &[
            SAYS,
            ("name", "The rule", "string"),
            ("state", "acts, shadow or off; null: as the settings have it", "string"),
            ("when", "Conditions: FEATURE >= NUMBER and …", "string"),
            ("points", "What it adds to the logarithm of the odds", "number"),
            ("description", "For people", "string"),
            ("reason", "Why, for the audit trail", "string"),
        ],
    ),
    (
        "/v1/fraud/backtest",
        "Judge the lake again in the background, as it runs and on trial; one at a time (409), and it changes nothing",
        &[
            SAYS,
            ("name", "A rule on trial: a new one, or one that is known", "string"),
            ("when", "Its conditions; without them: as the rule has them", "string"),
            ("points", "What it adds to the logarithm of the odds; without them: as the rule has them", "number"),
            ("off", "Rules that do not run on trial", "array"),
            ("review_at", "Score from which on somebody looks at a payment", "number"),
            ("block_at", "Score from which on a payment is refused", "number"),
            ("since", "Decisions from then on: RFC 3339, a day, or so long ago (6h); without it: all", "string"),
            ("until", "Decisions before then", "string"),
            ("memory", "How much of what happened before `since` is taken in first (24h); without it: all", "string"),
        ],
    ),
    ("/v1/fraud/backtest/stop", "End the backtest that is running", &[SAYS]),
];

/// Name, description, JSON type.
type Field = (&'static str, &'static str, &'static str);

const BY: Field = ("by", "Who says so, for the record; `page` when nothing is said", "string");
const IDS: Field = ("ids", "Ids of letters, at most 500", "array");
const FILTER: Field = (
    "filter",
    "Or all letters, at most 500, with this topic, kind, code, q, since, until, state (open, sent)",
    "object",
);
const DRY_RUN: Field = ("dry_run", "Change nothing and say what would be", "boolean");
const SAYS: Field = ("by", "Who says it: needed", "string");
const ENTITY: Field = ("entity", "Everything about its entity, not this alert alone", "boolean");

const JSON: &str = "application/json";

/// Name, place, description, kind.
type Parameter = (&'static str, &'static str, &'static str, &'static str);

const TEXT: &str = "text";
const TIME: &str = "time";
const COUNT: &str = "count";
const RANGE: &str = "range";

/// The description.
pub(super) fn description() -> Value {
    let mut paths: Map<String, Value> = OPERATIONS
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
    for (path, summary, fields) in WRITES {
        paths.entry(*path).or_insert_with(|| json!({}))["post"] = write(path, summary, fields);
    }
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Millrace dashboard", "version": env!("CARGO_PKG_VERSION"),
            "description": "Results of the streaming tables. Ids of persons are masked.",
        },
        "paths": paths,
    })
}

fn write(path: &str, summary: &str, fields: &[Field]) -> Value {
    let id = ("id", "path", "Id, percent-encoded", TEXT);
    let parameters: Vec<Value> = path.contains("{id}").then(|| parameter(&id)).into_iter().collect();
    let properties: Map<String, Value> = fields
        .iter()
        .map(|(name, description, kind)| ((*name).to_owned(), json!({"type": kind, "description": description})))
        .collect();
    let schema = json!({"type": "object", "properties": properties, "additionalProperties": false});
    json!({
        "summary": summary,
        "parameters": parameters,
        "requestBody": {"content": {(JSON): {"schema": schema}}},
        "responses": {
            "200": {"description": "What it came to", "content": {(JSON): {}}},
            "default": {"description": "What is wrong (RFC 9457)", "content": {"application/problem+json": {}}},
        },
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
