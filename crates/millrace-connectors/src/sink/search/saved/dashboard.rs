//! The dashboard: the charts two by two, over the last hour, looked up again by itself.

use serde_json::{Value, json};

use super::{DASHBOARD, Names, VISUALIZATION, object, search_source};

/// Columns of the grid that servers lay panels on.
const GRID_COLUMNS: u32 = 48;
/// Panels beside each other.
const PANELS_A_ROW: usize = 2;
/// How often an open dashboard asks again, milliseconds.
const REFRESH_MS: u64 = 10_000;
/// What writes panels of this form.
const PANEL_VERSION: &str = "7.10.0";

pub(super) struct Panel {
    /// Id of its visualization.
    pub(super) id: String,
    /// Rows of the grid.
    pub(super) height: u32,
}

pub(super) fn dashboard(panels: &[Panel], names: &Names) -> Value {
    let (mut placed, mut references) = (Vec::new(), Vec::new());
    let mut y = 0;
    for row in panels.chunks(PANELS_A_ROW) {
        // One that is alone has the row for itself.
        let width = GRID_COLUMNS / u32::try_from(row.len()).unwrap_or(1).max(1);
        let height = row.iter().map(|panel| panel.height).max().unwrap_or_default();
        for (x, panel) in (0..).step_by(width as usize).zip(row) {
            let (at, reference) = (placed.len().to_string(), format!("panel_{}", placed.len()));
            placed.push(json!({
                "version": PANEL_VERSION,
                "type": VISUALIZATION,
                "gridData": { "x": x, "y": y, "w": width, "h": height, "i": at },
                "panelIndex": at,
                "embeddableConfig": {},
                "panelRefName": reference,
            }));
            references.push(json!({ "name": reference, "type": VISUALIZATION, "id": panel.id }));
        }
        y += height;
    }
    let attributes = json!({
        "title": names.brand,
        "description": "What the shop does now",
        "version": 1,
        "hits": 0,
        "timeRestore": true,
        // As many minutes as a chart has points for.
        "timeFrom": "now-1h",
        "timeTo": "now",
        "refreshInterval": { "pause": false, "value": REFRESH_MS },
        "optionsJSON": json!({ "useMargins": true, "hidePanelTitles": false }).to_string(),
        "panelsJSON": Value::from(placed).to_string(),
        "kibanaSavedObjectMeta": search_source(None),
    });
    object(DASHBOARD, names.id(DASHBOARD, "overview"), attributes, references.into())
}
