//! millrace-connectors
