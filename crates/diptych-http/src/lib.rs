//! The wire contract: the only place that knows status codes.
//!
//! Turns a running service's two panels into a plain axum router: commands, aggregates, queries, what became
//! of a command, descriptions for people and machines, health. Absent here, on purpose: stores, sockets,
//! and any decision of the domain.

mod aggregate;
mod announced;
mod answers;
mod app;
mod audit;
mod body;
mod caching;
mod caller;
mod command;
mod commands;
mod envelope;
mod error;
mod export_text;
mod exports;
mod following;
mod frame;
mod freshness;
mod headers;
mod health;
mod history;
mod home;
mod html;
mod jobs;
mod json;
mod later;
mod model;
mod names;
mod openapi;
mod own_pages;
mod pages;
mod pending;
mod problem;
mod router;
mod rows;
mod sse;
#[cfg(test)]
mod tests;
mod watching;
mod wire;
mod words;

pub use own_pages::{AskedPage, Html, OwnPage};
pub use pages::error_page;
pub use router::router;
pub use wire::{Hosts, HttpLimits, MetricsAccess, Panels, Readiness, ServiceInfo, Wire};
pub use words::percent_encoded;
