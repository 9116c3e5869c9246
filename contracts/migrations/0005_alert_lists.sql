-- Lists of alerts by time and by whom they are about, without reading what is older.

CREATE INDEX alerts_fired_fired_at_idx ON alerts_fired (fired_at);
CREATE INDEX alerts_fired_entity_idx ON alerts_fired (source_table, entity);
CREATE INDEX alert_deliveries_undone_idx ON alert_deliveries (state);
