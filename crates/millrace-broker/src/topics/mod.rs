//! Topics: their settings ([`config`]), their names ([`name`]), what may be created ([`creation`]) and changed
//! ([`alteration`]), and the registry of all of them ([`registry`]).

pub(crate) mod alteration;
pub(crate) mod config;
pub(crate) mod creation;
pub(crate) mod name;
pub(crate) mod registry;
