//! That everything resolves: references, fields, types; read back from the file, against the templates the sink puts.

use std::collections::{HashMap, HashSet};
use std::path::Path;

use millrace_model::{Contract, Contracts};
use serde_json::Value;

use super::SavedObjects;
use crate::sink::search::SearchSettings;
use crate::sink::search::index::Index;
use crate::store::samples;

/// The tables the sink writes when the shipped pipelines run.
fn shipped() -> Vec<Contract> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../contracts/results");
    let mut tables: Vec<Contract> = std::fs::read_dir(folder)
        .expect("the folder of contracts")
        .map(|entry| std::fs::read_to_string(entry.expect("an entry").path()).expect("a contract"))
        .map(|text| Contract::parse(&text).expect("a contract"))
        .collect();
    tables.push(Contracts::builtin().get("fraud_alerts").expect("it ships").clone());
    tables.sort_by(|a, b| a.name.cmp(&b.name));
    tables
}

fn with_prefix(prefix: &str) -> SearchSettings {
    SearchSettings { index_prefix: prefix.into(), ..SearchSettings::default() }
}

/// The objects as whoever imports the file reads them.
fn read(made: &SavedObjects) -> Vec<Value> {
    let text = made.to_ndjson();
    assert!(text.ends_with('\n'));
    text.lines().map(|line| serde_json::from_str(line).expect("a line is JSON")).collect()
}

fn of_kind<'a>(objects: &'a [Value], kind: &str) -> Vec<&'a Value> {
    objects.iter().filter(|object| object["type"] == kind).collect()
}

/// What is JSON within JSON.
fn within(value: &Value) -> Value {
    serde_json::from_str(value.as_str().expect("a text")).expect("JSON in it")
}

fn key(object: &Value) -> (String, String) {
    let text = |name: &str| object[name].as_str().expect("a text").to_owned();
    (text("type"), text("id"))
}

#[test]
fn every_object_has_the_documented_shape() {
    let made = SavedObjects::of(&SearchSettings::default(), &shipped());
    assert_eq!(made.left_out, Vec::<String>::new());
    let objects = read(&made);
    let counts = ["index-pattern", "visualization", "dashboard"].map(|kind| of_kind(&objects, kind).len());
    assert_eq!(counts, [shipped().len(), super::CHARTS.len(), 1]);
    for object in &objects {
        let (kind, id) = key(object);
        let names: Vec<&str> = object.as_object().expect("an object").keys().map(String::as_str).collect();
        assert_eq!(names, ["type", "id", "attributes", "references", "migrationVersion"], "{object}");
        assert!(!object["attributes"]["title"].as_str().expect("a title").is_empty());
        // What is before a `_` would be taken for a data source.
        assert!(id.len() == 36 && id.chars().all(|c| c.is_ascii_hexdigit() || c == '-'), "{id}");
        // A newer form than the server's is refused; Kibana 7.17 and OpenSearch Dashboards 2 share these.
        let expected = match kind.as_str() {
            "index-pattern" => "7.6.0",
            "visualization" => "7.10.0",
            _ => "7.9.3",
        };
        assert_eq!(object["migrationVersion"][&kind], expected);
    }
    for chart in of_kind(&objects, "visualization") {
        let state = within(&chart["attributes"]["visState"]);
        assert_eq!(state["title"], chart["attributes"]["title"]);
        assert!(!chart["attributes"]["description"].as_str().expect("a text").is_empty());
        assert_eq!(within(&chart["attributes"]["uiStateJSON"]), serde_json::json!({}));
        // Each measure has its series, by the id of its aggregation.
        let aggregations = state["aggs"].as_array().expect("aggregations");
        let measures: Vec<&Value> = aggregations.iter().filter(|one| one["schema"] == "metric").collect();
        assert!(!measures.is_empty());
        if let Some(series) = state["params"]["seriesParams"].as_array() {
            let ids: Vec<&Value> = series.iter().map(|series| &series["data"]["id"]).collect();
            assert_eq!(ids, measures.iter().map(|one| &one["id"]).collect::<Vec<_>>());
        }
    }
}

#[test]
fn every_reference_resolves_to_what_comes_before_it() {
    let objects = read(&SavedObjects::of(&SearchSettings::default(), &shipped()));
    let mut before = HashSet::new();
    for object in &objects {
        let references = object["references"].as_array().expect("references");
        for reference in references {
            assert!(before.contains(&key(reference)), "{reference} of {object}");
        }
        let named: HashSet<&str> = references.iter().map(|one| one["name"].as_str().expect("a name")).collect();
        assert_eq!(named.len(), references.len(), "{object}");
        let attributes = &object["attributes"];
        let asked: Vec<Value> = match object["type"].as_str() {
            Some("visualization") => {
                vec![within(&attributes["kibanaSavedObjectMeta"]["searchSourceJSON"])["indexRefName"].clone()]
            }
            Some("dashboard") => {
                let panels = within(&attributes["panelsJSON"]);
                panels.as_array().expect("panels").iter().map(|panel| panel["panelRefName"].clone()).collect()
            }
            _ => Vec::new(),
        };
        assert_eq!(asked.iter().map(|name| name.as_str().expect("a name")).collect::<HashSet<_>>(), named, "{object}");
        assert!(before.insert(key(object)), "twice: {object}");
    }
}

#[test]
fn every_field_is_in_the_template_as_the_type_it_is_used_as() {
    let search = with_prefix("shop-");
    let objects = read(&SavedObjects::of(&search, &shipped()));
    // What the sink tells the server, by what its indices are called.
    let templates: HashMap<String, Value> = shipped()
        .iter()
        .map(|table| Index::of(table, search.prefix()).template(None))
        .map(|template| {
            let pattern = template["index_patterns"][0].as_str().expect("a pattern").to_owned();
            (pattern, template["template"]["mappings"]["properties"].clone())
        })
        .collect();
    let mut by_id = HashMap::new();
    for pattern in of_kind(&objects, "index-pattern") {
        let attributes = &pattern["attributes"];
        let title = attributes["title"].as_str().expect("a title");
        assert!(title.starts_with("shop-"), "{title}");
        let mapped = &templates[title];
        let fields = within(&attributes["fields"]);
        let own: Vec<(&str, &str)> = (fields.as_array().expect("fields").iter())
            .map(|field| (field["name"].as_str().expect("a name"), field["esTypes"][0].as_str().expect("a type")))
            .filter(|(name, _)| !name.starts_with('_'))
            .collect();
        let expected: Vec<(&str, &str)> = (mapped.as_object().expect("fields").iter())
            .map(|(name, field)| (name.as_str(), field["type"].as_str().expect("a type")))
            .filter(|(_, kind)| *kind != "object")
            .collect();
        assert_eq!(own, expected, "{title}");
        if let Some(time) = attributes.get("timeFieldName") {
            assert_eq!(mapped[time.as_str().expect("a name")]["type"], "date", "{title}");
        }
        by_id.insert(pattern["id"].clone(), (title, mapped, attributes));
    }
    assert_eq!(by_id.len(), templates.len());
    for chart in of_kind(&objects, "visualization") {
        let (title, mapped, attributes) = &by_id[&chart["references"][0]["id"]];
        let state = within(&chart["attributes"]["visState"]);
        let mut measures = HashSet::new();
        for one in state["aggs"].as_array().expect("aggregations") {
            let (kind, params) = (one["type"].as_str().expect("a type"), &one["params"]);
            let field = params["field"].as_str();
            let found = field.map(|field| mapped[field]["type"].as_str().unwrap_or("missing"));
            let fits = match kind {
                "count" => field.is_none(),
                "sum" | "avg" | "min" | "max" => matches!(found, Some("long" | "double")),
                // Only what has its values in columns can be divided by: never analysed text.
                "terms" => found == Some("keyword"),
                // The range of the dashboard is of the same field.
                "date_histogram" => found == Some("date") && params["field"] == attributes["timeFieldName"],
                _ => false,
            };
            assert!(fits, "{title}: {one} of a {found:?}");
            match one["schema"].as_str() {
                Some("metric") => assert!(measures.insert(one["id"].clone()), "{one}"),
                Some("segment" | "group" | "bucket") if kind == "terms" => {
                    assert!(measures.contains(&params["orderBy"]), "{title}: ordered by what is not measured: {one}");
                }
                schema => assert_eq!((schema, kind), (Some("segment"), "date_histogram")),
            }
        }
    }
}

#[test]
fn what_is_now_is_within_the_last_hour() {
    let objects = read(&SavedObjects::of(&SearchSettings::default(), &shipped()));
    let time = |title: &str| {
        let pattern = objects.iter().find(|object| object["attributes"]["title"] == title).expect("a pattern");
        pattern["attributes"]["timeFieldName"].as_str().map(str::to_owned)
    };
    // The end of a window is ahead; a signal's window may be a week; a state has no time, and is shown whatever is asked.
    assert_eq!(time("millrace-store_metrics-2*").as_deref(), Some("window_start"));
    assert_eq!(time("millrace-fraud_signals").as_deref(), Some("last_seen"));
    assert_eq!(time("millrace-sessions-2*").as_deref(), Some("session_end"));
    assert_eq!(time("millrace-fraud_alerts").as_deref(), Some("event_time"));
    assert_eq!(time("millrace-stock_levels"), None);
}

#[test]
fn importing_again_replaces_and_another_shop_stands_beside() {
    let ids = |prefix: &str| -> HashSet<(String, String)> {
        read(&SavedObjects::of(&with_prefix(prefix), &shipped())).iter().map(key).collect()
    };
    let ours = ids("");
    assert_eq!(ours.len(), shipped().len() + super::CHARTS.len() + 1);
    assert_eq!(ours, ids("millrace-"), "the prefix that holds when none is set");
    assert!(ours.is_disjoint(&ids("shop-")) && ids("shop-").is_disjoint(&ids("shop_")));
    // Written down, so that a change of it is noticed: it would leave what was imported before beside the new.
    assert!(ours.contains(&("dashboard".into(), OVERVIEW.into())), "{ours:?}");
    let fewer = read(&SavedObjects::of(&SearchSettings::default(), &shipped()[3..]));
    assert!(fewer.iter().all(|object| ours.contains(&key(object))), "an id is of what it names, not of its place");
    let titled = read(&SavedObjects::of(&with_prefix("shop-"), &shipped()));
    assert_eq!(of_kind(&titled, "dashboard")[0]["attributes"]["title"], "Millrace shop-");
}

/// Id of the dashboard where no prefix is set.
const OVERVIEW: &str = "c975c7c1-b0b2-fcad-e16d-72fd77d79a8e";

#[test]
fn what_is_not_there_is_not_named() {
    let mut tables = shipped();
    tables.retain(|table| table.name != "sessions");
    let vitals = tables.iter_mut().find(|table| table.name == "vitals").expect("it ships");
    vitals.columns.retain(|column| column.name != "payments_declined");
    let carts = tables.iter_mut().find(|table| table.name == "abandoned_carts").expect("it ships");
    let reason = carts.columns.iter_mut().find(|column| column.name == "reason").expect("it ships");
    reason.column_type = millrace_model::ColumnType::Integer;
    let made = SavedObjects::of(&SearchSettings::default(), &tables);
    assert_eq!(
        made.left_out,
        [
            "The shop in numbers: `vitals` has no field `payments_declined`",
            "Orders and declined payments by minute: `vitals` has no field `payments_declined`",
            "How far sessions came: no table `sessions` is written",
            "Abandoned carts by reason: field `reason` of `abandoned_carts` is long",
        ]
    );
    let objects = read(&made);
    let panels = within(&of_kind(&objects, "dashboard")[0]["attributes"]["panelsJSON"]);
    assert_eq!(panels.as_array().map(Vec::len), Some(super::CHARTS.len() - 4));
    assert_eq!(of_kind(&objects, "visualization").len(), super::CHARTS.len() - 4);

    // Tables of one's own have their index patterns, and nothing is drawn of them.
    let own = read(&SavedObjects::of(&SearchSettings::default(), &[samples::contract(&["store_id"])]));
    assert_eq!(own.len(), 1);
    assert_eq!(own[0]["attributes"]["title"], "millrace-sample");
    assert_eq!(own[0]["attributes"]["timeFieldName"], "window_start");
}

#[test]
fn panels_fill_the_grid_and_do_not_overlap() {
    let objects = read(&SavedObjects::of(&SearchSettings::default(), &shipped()));
    let attributes = &of_kind(&objects, "dashboard")[0]["attributes"];
    let panels = within(&attributes["panelsJSON"]);
    let mut cells = HashSet::new();
    let mut bottom = 0;
    for panel in panels.as_array().expect("panels") {
        let [x, y, w, h] =
            ["x", "y", "w", "h"].map(|name| panel["gridData"][name].as_u64().expect("a number of the grid"));
        assert_eq!(panel["gridData"]["i"], panel["panelIndex"]);
        // Kibana takes a panel without, or with an older one, for one of before 7.3, and one without its type for broken.
        assert_eq!((&panel["version"], &panel["type"]), (&"7.10.0".into(), &"visualization".into()));
        for cell in (x..x + w).flat_map(|x| (y..y + h).map(move |y| (x, y))) {
            assert!(cell.0 < 48 && cells.insert(cell), "{panel}");
        }
        bottom = bottom.max(y + h);
    }
    assert_eq!(cells.len() as u64, 48 * bottom, "no holes");
    assert_eq!(attributes["timeRestore"], true);
    assert_eq!(within(&attributes["optionsJSON"])["useMargins"], true);
}
