//! The ratios on PostgreSQL: 2 and 6, and those of the embedded store that say something here, too.

mod commands;
mod large;

use super::{documents, foreground, policies, say, visible};
use crate::Outcome;
use crate::database::{self, within};
use crate::measure::{Line, Store};
use crate::options::Options;
use crate::reference::postgres::bare;
use crate::stores::open_on;

/// Measures what is asked for on a server.
pub(super) async fn run(options: &Options, server: &str) -> Outcome<Vec<Line>> {
    let mut lines = Vec::new();
    if [3, 4, 5, 6].iter().any(|number| options.wants(*number)) {
        lines.extend(
            within(server, "commands", async |database| commands::measure(options, database).await).await?,
        );
    }
    if [2, 7].iter().any(|number| options.wants(*number)) {
        lines
            .extend(within(server, "large", async |database| large::measure(options, database).await).await?);
    }
    if options.wants(12) {
        let visible = within(server, "visible", async |database| {
            visible::measure(options, open_on(database, true).await?, database::probe).await
        });
        lines.extend(visible.await?);
    }
    if options.wants(15) {
        let foreground = within(server, "foreground", async |database| {
            let scan = async || bare::scan(database).await;
            foreground::measure(options, open_on(database, true).await?, scan).await
        });
        lines.extend(foreground.await?);
    }
    if options.wants(17) {
        let policies = within(server, "policies", async |database| {
            let places = ["guarded", "open"].map(|schema| in_schema(database.url(), schema));
            policies::measure(options, Store::Postgres, places, database::probe).await
        });
        lines.extend(policies.await?);
    }
    if options.wants(18) {
        let documents =
            within(server, "documents", async |database| documents::on_postgres(options, database).await);
        lines.extend(documents.await?);
    }
    if lines.is_empty() {
        say("none of the ratios asked for is measured on PostgreSQL");
    }
    Ok(lines.into_iter().map(|line| line.on(Store::Postgres)).collect())
}

/// A schema of its own in a database.
fn in_schema(url: &str, schema: &str) -> diptych::Place {
    let joint = if url.contains('?') { '&' } else { '?' };
    diptych::Place::from_text(&format!("{url}{joint}schema={schema}"))
}
