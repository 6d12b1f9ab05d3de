//! `[ros2]`: what the cell sees, for ROS 2.

use std::time::Duration;

use magpie_network::check_endpoint;
use magpie_ros2::{DomainId, Namespace, NodeOptions};
use magpie_wire::CellName;
use serde::Deserialize;

use super::checker::{Checker, ConfigError, shipped};

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Ros2File {
    enabled: Option<bool>,
    router: Option<String>,
    domain_id: Option<i64>,
    namespace: Option<String>,
    type_hashes: Option<bool>,
    picture_period_ms: Option<u64>,
}

/// `[ros2]`, checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ros2Config {
    pub node: NodeOptions,
    pub picture_period: Duration,
}

/// `None`: nothing is said to ROS 2.
pub(super) fn check(
    checker: &Checker<'_>,
    file: &Ros2File,
    cell: &CellName,
) -> Result<Option<Ros2Config>, ConfigError> {
    const NAMESPACE: &str = "ros2.namespace";
    let router = check_router(checker, shipped(file.router.clone()))?;
    let domain_id = DomainId::new(shipped(file.domain_id))
        .map_err(|error| checker.unusable("ros2.domain_id", error))?;
    let named = file.namespace.as_deref().map(Namespace::new).transpose();
    let named = named.map_err(|error| checker.unusable(NAMESPACE, error))?;
    let picture_period = checker.time("ros2.picture_period_ms", shipped(file.picture_period_ms))?;
    if !shipped(file.enabled) {
        return Ok(None);
    }
    let namespace = named.map_or_else(|| Namespace::of_cell(cell), Ok);
    let namespace = namespace.map_err(|error| checker.unusable(NAMESPACE, error))?;
    let type_hashes = shipped(file.type_hashes);
    let node = NodeOptions { router, domain_id, namespace, type_hashes };
    Ok(Some(Ros2Config { node, picture_period }))
}

fn check_router(checker: &Checker<'_>, router: String) -> Result<String, ConfigError> {
    const KEY: &str = "ros2.router";
    check_endpoint(&router).map_err(|error| checker.unusable(KEY, error))?;
    let address = router.strip_prefix("tcp/").and_then(|address| address.rsplit_once(':'));
    let port = address.and_then(|(_, port)| port.parse::<u16>().ok());
    if port.is_none_or(|port| port == 0) {
        let why = "is no plain TCP with a port, such as tcp/localhost:7447, where `ros2 run \
                   rmw_zenoh_cpp rmw_zenohd` listens";
        return checker.refuse(KEY, router, why);
    }
    Ok(router)
}
