//! `magpie model list`.

use std::path::PathBuf;

use magpie_daemon::config::Config;
use magpie_daemon::failure::{Failure, Outcome};
use magpie_daemon::models::{CONFIGURED, Selection, Store};
use magpie_daemon::{model, signature};

use crate::present::{output, table};

#[derive(Debug, clap::Args)]
pub(super) struct ListArgs {
    /// The configuration, which names the folder; absent: the shipped one.
    #[arg(long)]
    config: Option<PathBuf>,
}

pub(super) fn list(args: &ListArgs) -> Outcome {
    let config = Config::load(args.config.as_deref()).map_err(Failure::config)?;
    let store = Store::new(&config.model_store);
    let installed = store.list().map_err(Failure::fault)?;
    let selections = Selection::all(store.folder());
    let configured = model::chosen(None, &config)?;
    let mut table = table::new(&["model", "sha256", "MB", "signed", "used by", "kept by"]);
    let mut row = |name: &str, digits: &str, bytes: u64, signed: &str| {
        let is_this = |sha256: &str| sha256.starts_with(digits);
        let cells = |uses: &dyn Fn(&Selection) -> bool| {
            let using = selections.iter().filter(|(_, selection)| uses(selection));
            using.map(|(cell, _)| cell.as_str()).collect::<Vec<_>>().join(", ")
        };
        let on_trial = |cell: &str, selection: &Selection| {
            if selection.on_trial { format!("{cell} (on trial)") } else { cell.to_owned() }
        };
        let used = selections.iter().filter(|(_, selection)| is_this(&selection.in_use));
        let used = used.map(|(cell, selection)| on_trial(cell, selection)).collect::<Vec<_>>();
        let kept = cells(&|selection| selection.previous.as_deref().is_some_and(is_this));
        table.add_row([
            table::Cell::new(name),
            table::Cell::new(digits),
            table::number(format!("{:.1}", bytes as f64 / 1e6)),
            table::Cell::new(signed),
            table::Cell::new(used.join(", ")),
            table::Cell::new(kept),
        ]);
    };
    let spec = configured.spec();
    let name = format!("{CONFIGURED}: {}", spec.name);
    row(&name, &spec.sha256[..12], configured.bytes().len() as u64, "");
    for model in &installed {
        let signed = signature::signature_path(&model.path).is_file();
        row(&model.name, &model.digits, model.bytes, if signed { "yes" } else { "no" });
    }
    output::line(&table.to_string())?;
    let mut told = selections.iter().filter_map(|(cell, selection)| {
        Some(format!("{cell}: {}", selection.rolled_back.as_ref()?))
    });
    told.try_for_each(|told| output::line(&told))
}
