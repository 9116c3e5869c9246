//! millrace-codec
