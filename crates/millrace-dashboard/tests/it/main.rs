//! The dashboard from outside: a server on a free port over a temporary SQLite store with fixture rows.

mod alerts;
mod api;
mod browser;
mod events;
mod http;
mod kafka;
mod letters;
mod pages;
mod reviews;
mod support;
