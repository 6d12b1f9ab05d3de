//! `magpie cells`: the cells that are alive, their state, and where they listen.

use magpie_client::{
    HiddenCell, LiveCell, LocalCells, Refusal, cells_at, cells_of_this_machine, wire,
};
use magpie_daemon::failure::{Outcome, not_joined};
use magpie_wire::printable;
use serde_json::{Value, json};

use crate::arguments::{ZenohArgs, endpoint};
use crate::present::{output, table};

#[derive(Debug, clap::Args)]
pub struct CellsArgs {
    /// Print each cell as one line of JSON.
    #[arg(long)]
    json: bool,
    /// List what can be reached at this endpoint, for example a router's; absent: the cells of this
    /// machine.
    #[arg(long, value_name = "ENDPOINT", value_parser = endpoint, conflicts_with = "zenoh")]
    connect: Option<String>,
    #[command(flatten)]
    zenoh: ZenohArgs,
}

/// Of a daemon that needs a certificate to answer, and of one that may need it.
const HIDDEN: &str = "needs a certificate: --zenoh FILE";
const SILENT: &str = "does not answer: it is busy, or needs a certificate (--zenoh FILE)";

pub fn cells(args: &CellsArgs) -> Outcome {
    // zenoh's own threads do the work; this one waits.
    let LocalCells { live, hidden } = match args.zenoh.told(args.connect.as_deref()) {
        None => cells_of_this_machine(),
        Some(zenoh) => {
            LocalCells { live: cells_at(&zenoh).map_err(not_joined)?, hidden: Vec::new() }
        }
    };
    if args.json {
        let live = live.iter().map(live_json);
        let hidden = hidden.iter().map(hidden_json);
        return live.chain(hidden).try_for_each(|cell| output::line(&cell.to_string()));
    }
    if live.is_empty() && hidden.is_empty() {
        return output::line("no cell is alive here; `magpie run` starts one");
    }
    let mut table = table::new(&["cell", "state", "listens on", "model", "provider"]);
    for cell in &live {
        table.add_row(row(cell));
    }
    for HiddenCell { cell, listens } in &hidden {
        table.add_row([cell, "?", &listens.join(", "), "", ""].map(table::Cell::new));
    }
    output::line(&table.to_string())?;
    // Texts of any length stand below, where the terminal wraps them.
    let live = live.iter().flat_map(reasons);
    let hidden = hidden.iter().map(|hidden| {
        let why = if hidden.asks_for_certificate() { HIDDEN } else { SILENT };
        format!("{}: {why}", hidden.cell)
    });
    live.chain(hidden).try_for_each(|reason| output::line(&reason))
}

fn row(found: &LiveCell) -> [table::Cell; 5] {
    let text = |text: &str| table::Cell::new(text);
    let name = text(found.cell.as_str());
    let Some(status) = &found.status else {
        return [name, text("?"), text(&found.endpoint), text(""), text("")];
    };
    let model = status.model.as_ref().map_or("", |model| &model.name);
    let listens = listens(found, status).join(", ");
    [name, text(state(status)), text(&listens), text(model), text(&status.provider_got)]
}

/// Why a cell is as it is, a line each.
fn reasons(found: &LiveCell) -> Vec<String> {
    let cell = &found.cell;
    let Some(status) = &found.status else {
        let why = found.refused.as_ref().map_or_else(
            || "it does not say how it is doing: may this reader read?".to_owned(),
            |refusal| format!("its heartbeat was refused: {}", printable(&refusal.to_string())),
        );
        return vec![format!("{cell}: {why}")];
    };
    let line = |reason: &String| format!("{cell}: {}", printable(reason));
    status.reasons.iter().map(line).collect()
}

fn state(status: &wire::Status) -> &'static str {
    status.state().as_str_name().trim_start_matches("STATE_")
}

/// By its own words; an older daemon only where it was found.
fn listens(found: &LiveCell, status: &wire::Status) -> Vec<String> {
    let found_at = || Some(found.endpoint.clone()).filter(|endpoint| !endpoint.is_empty());
    if status.listens.is_empty() {
        found_at().into_iter().collect()
    } else {
        status.listens.clone()
    }
}

fn live_json(found: &LiveCell) -> Value {
    let mut value = json!({ "cell": found.cell.as_str(), "state": null, "listens": [] });
    if let Some(Refusal::SchemaVersion { found }) = found.refused {
        value["schema_version"] = found.into();
    }
    if let Some(status) = &found.status {
        value["state"] = state(status).into();
        value["listens"] = listens(found, status).into();
        value["model"] = status.model.as_ref().map(|model| model.name.clone()).into();
        value["model_sha256"] = status.model.as_ref().map(|model| model.sha256.clone()).into();
        value["provider"] = status.provider_got.clone().into();
        value["reason_codes"] =
            status.coded_reasons().into_iter().map(|reason| reason.code).collect();
        value["instance_id"] = status.instance_id.clone().into();
    }
    value
}

fn hidden_json(hidden: &HiddenCell) -> Value {
    let needs = hidden.asks_for_certificate().then_some("certificate");
    json!({ "cell": hidden.cell, "state": null, "listens": hidden.listens, "needs": needs })
}

#[cfg(test)]
mod tests {
    use magpie_wire::CellName;

    use super::*;

    #[test]
    fn long_reasons_stand_below_the_table_a_line_each() {
        let why = ["no frame for 3.0 s: ".repeat(20), "recording stopped\nx".to_owned()];
        let status = wire::Status { reasons: why.to_vec(), ..Default::default() };
        let cell = CellName::new("dock-7").unwrap();
        let found = LiveCell { cell, endpoint: String::new(), status: Some(status), refused: None };
        let lines = reasons(&found);
        assert_eq!(lines.len(), 2);
        assert!(lines.iter().all(|line| line.starts_with("dock-7: ") && line.lines().count() == 1));
        let mut table = table::new(&["cell", "state", "listens on", "model", "provider"]);
        table.add_row(row(&found));
        assert!(table.to_string().lines().all(|line| line.len() < 80), "{table}");
    }
}
