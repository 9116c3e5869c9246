//! millrace-broker
