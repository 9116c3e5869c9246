//! millrace-model
