//! A chart as a saved visualization: its aggregations, and how they are drawn.

use serde_json::{Value, json};

use super::charts::{Along, Chart, Form, Of, Split};
use super::pattern::{Pattern, Wanted};
use super::{INDEX_PATTERN, Names, VISUALIZATION, object, search_source};

/// Values along an axis, or rows of a table, at most.
const VALUES_MAX: u32 = 20;
/// Series, or values of a table's second column, at most.
const SERIES_MAX: u32 = 10;
/// Name of the reference to the index pattern, as the servers have it.
const INDEX: &str = "kibanaSavedObjectMeta.searchSourceJSON.index";
/// The one axis of values.
const AXIS: &str = "ValueAxis-1";

/// The visualization of a chart.
///
/// # Errors
/// A field that the index does not have, or not as the type that the chart needs.
pub(super) fn visualization(chart: &Chart, pattern: &Pattern, names: &Names) -> Result<Value, String> {
    let title = format!("{}: {}", names.brand, chart.title);
    let state = json!({
        "title": title,
        "type": kind(chart.form),
        "aggs": aggregations(chart, pattern)?,
        "params": params(chart),
    });
    let attributes = json!({
        "title": title,
        "description": chart.about,
        "version": 1,
        "uiStateJSON": "{}",
        "visState": state.to_string(),
        "kibanaSavedObjectMeta": search_source(Some(INDEX)),
    });
    let references = json!([{ "name": INDEX, "type": INDEX_PATTERN, "id": pattern.id }]);
    Ok(object(VISUALIZATION, names.id(VISUALIZATION, chart.name), attributes, references))
}

fn kind(form: Form) -> &'static str {
    match form {
        Form::Line => "line",
        Form::Columns => "histogram",
        Form::Bars => "horizontal_bar",
        Form::Numbers => "metric",
        Form::Table => "table",
    }
}

/// Measures, numbered from 1, then what they are divided by, the outer first.
fn aggregations(chart: &Chart, pattern: &Pattern) -> Result<Vec<Value>, String> {
    let mut all = Vec::new();
    for measure in chart.measures {
        let (kind, field) = match measure.of {
            Of::Documents => ("count", None),
            Of::Sum(field) => ("sum", Some(field)),
            Of::Average(field) => ("avg", Some(field)),
            Of::Least(field) => ("min", Some(field)),
            Of::Greatest(field) => ("max", Some(field)),
        };
        let mut params = json!({ "customLabel": measure.label });
        if let Some(field) = field {
            params["field"] = pattern.field(field, Wanted::Number)?.into();
        }
        add(&mut all, kind, "metric", params);
    }
    let (outer, inner) = match chart.form {
        Form::Table => ("bucket", "bucket"),
        _ => ("segment", "group"),
    };
    match chart.along {
        None => {}
        Some(Along::Minutes) => {
            let params = json!({
                "field": pattern.time()?, "interval": "m", "drop_partials": false, "min_doc_count": 1, "extended_bounds": {},
            });
            add(&mut all, "date_histogram", outer, params);
        }
        Some(Along::Greatest(field)) => {
            add(&mut all, "terms", outer, terms(&pattern.field(field, Wanted::Keyword)?, "desc", VALUES_MAX));
        }
        Some(Along::Least(field)) => {
            add(&mut all, "terms", outer, terms(&pattern.field(field, Wanted::Keyword)?, "asc", VALUES_MAX));
        }
    }
    if let Some(Split::By(field) | Split::Known(field)) = chart.split {
        let mut params = terms(&pattern.field(field, Wanted::Keyword)?, "desc", SERIES_MAX);
        params["missingBucket"] = matches!(chart.split, Some(Split::By(_))).into();
        add(&mut all, "terms", inner, params);
    }
    Ok(all)
}

fn add(all: &mut Vec<Value>, kind: &str, schema: &str, params: Value) {
    let id = (all.len() + 1).to_string();
    all.push(json!({ "id": id, "enabled": true, "type": kind, "schema": schema, "params": params }));
}

fn terms(field: &str, order: &str, size: u32) -> Value {
    json!({
        "field": field, "orderBy": "1", "order": order, "size": size,
        "otherBucket": false, "otherBucketLabel": "Other", "missingBucket": false, "missingBucketLabel": "Missing",
    })
}

fn params(chart: &Chart) -> Value {
    match chart.form {
        Form::Numbers => json!({
            "type": "metric",
            "addTooltip": true,
            "addLegend": false,
            "metric": {
                "percentageMode": false,
                "useRanges": false,
                "colorSchema": "Green to Red",
                "metricColorMode": "None",
                "colorsRange": [{ "from": 0, "to": 10_000 }],
                "labels": { "show": true },
                "invertColors": false,
                "style": { "bgFill": "#000", "bgColor": false, "labelColor": false, "subText": "", "fontSize": 32 },
            },
        }),
        Form::Table => json!({
            "perPage": VALUES_MAX,
            "showPartialRows": false,
            "showMetricsAtAllLevels": false,
            "sort": { "columnIndex": null, "direction": null },
            "showTotal": false,
            "totalFunc": "sum",
            "percentageCol": "",
        }),
        Form::Line => axes(chart, "line", "line", "normal", "bottom", "left"),
        Form::Columns => axes(chart, "histogram", "histogram", "stacked", "bottom", "left"),
        // Lying bars are columns with their axes exchanged.
        Form::Bars => axes(chart, "histogram", "histogram", "stacked", "left", "bottom"),
    }
}

fn axes(chart: &Chart, kind: &str, series: &str, mode: &str, category: &str, value: &str) -> Value {
    let shown: Vec<Value> = (1..)
        .zip(chart.measures)
        .map(|(id, measure): (u32, _)| {
            json!({
                "show": true, "type": series, "mode": mode, "data": { "id": id.to_string(), "label": measure.label },
                "valueAxis": AXIS, "drawLinesBetweenPoints": true, "lineWidth": 2, "interpolate": "linear", "showCircles": false,
            })
        })
        .collect();
    let label = match chart.measures {
        [one] => one.label,
        _ => "",
    };
    let name = if value == "left" { "LeftAxis-1" } else { "BottomAxis-1" };
    json!({
        "type": kind,
        "grid": { "categoryLines": false },
        "categoryAxes": [{
            "id": "CategoryAxis-1", "type": "category", "position": category, "show": true, "style": {},
            "scale": { "type": "linear" }, "labels": { "show": true, "rotate": 0, "filter": true, "truncate": 100 }, "title": {},
        }],
        "valueAxes": [{
            "id": AXIS, "name": name, "type": "value", "position": value, "show": true, "style": {},
            "scale": { "type": "linear", "mode": "normal" },
            "labels": { "show": true, "rotate": 0, "filter": true, "truncate": 100 }, "title": { "text": label },
        }],
        "seriesParams": shown,
        "addTooltip": true,
        "addLegend": chart.split.is_some() || chart.measures.len() > 1,
        "legendPosition": "right",
        "times": [],
        "addTimeMarker": false,
        "labels": { "show": false },
        "thresholdLine": { "show": false, "value": 10, "width": 1, "style": "full", "color": "#E7664C" },
    })
}
