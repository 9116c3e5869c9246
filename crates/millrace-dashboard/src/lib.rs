//! millrace-dashboard
