//! The names of a ROS 2 graph, checked.

use std::fmt;

use magpie_wire::CellName;

/// ROS 2 allows a domain of DDS no more, since each needs ports of its own.
const DOMAIN_ID_MAX: u8 = 232;
/// `rmw` accepts topics of 247 letters, and what Magpie appends to a namespace is short.
const NAMESPACE_LENGTH_MAX: usize = 200;

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    #[error("{found} is no domain of ROS 2: it must lie between 0 and {}", DOMAIN_ID_MAX)]
    Domain { found: i64 },
    #[error("{found:?} is no namespace of ROS 2: {why}, such as /magpie/dock_7")]
    Namespace { found: String, why: &'static str },
    #[error(
        "cell {cell:?} begins with a digit, which a name in ROS 2 may not: set ros2.namespace, such as \
         /magpie/dock_{cell}"
    )]
    Cell { cell: String },
}

/// `ROS_DOMAIN_ID` of those who are to hear.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct DomainId(u8);

impl DomainId {
    /// # Errors
    /// If it is out of range.
    pub fn new(id: i64) -> Result<DomainId, NameError> {
        let known = u8::try_from(id).ok().filter(|id| *id <= DOMAIN_ID_MAX);
        known.map(DomainId).ok_or(NameError::Domain { found: id })
    }
}

impl fmt::Display for DomainId {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(to)
    }
}

/// Where a cell's topics are: `/magpie/dock_7`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Namespace(String);

impl Namespace {
    /// # Errors
    /// If ROS 2 does not allow it.
    pub fn new(name: &str) -> Result<Namespace, NameError> {
        let refused = |why| Err(NameError::Namespace { found: name.to_owned(), why });
        let Some(parts) = name.strip_prefix('/') else {
            return refused("it must begin with a slash");
        };
        if name.len() > NAMESPACE_LENGTH_MAX {
            return refused("it must have at most 200 letters");
        }
        for part in parts.split('/') {
            if part.is_empty() {
                return refused("a name must follow each slash");
            }
            if part.starts_with(|first: char| first.is_ascii_digit()) {
                return refused("no name in it may begin with a digit");
            }
            if !part.chars().all(|letter| letter.is_ascii_alphanumeric() || letter == '_') {
                return refused("names have letters, digits and underscores");
            }
        }
        Ok(Namespace(name.to_owned()))
    }

    /// `/magpie/<cell>`, with underscores in place of hyphens, which ROS 2 does not allow.
    ///
    /// # Errors
    /// If the cell's name begins with a digit.
    pub fn of_cell(cell: &CellName) -> Result<Namespace, NameError> {
        let name = cell.as_str().replace('-', "_");
        if name.starts_with(|first: char| first.is_ascii_digit()) {
            return Err(NameError::Cell { cell: cell.to_string() });
        }
        Namespace::new(&format!("/magpie/{name}"))
    }

    pub fn topic(&self, name: &str) -> String {
        format!("{}/{name}", self.0)
    }
}

impl fmt::Display for Namespace {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(to)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_domain_is_one_that_ros_has() {
        assert_eq!(DomainId::new(232).unwrap().to_string(), "232");
        for found in [-1, 233, 256, i64::MAX] {
            assert_eq!(DomainId::new(found), Err(NameError::Domain { found }));
        }
    }

    #[test]
    fn a_namespace_is_one_that_ros_allows() {
        let check = |name: &str, part: &str| {
            let message = Namespace::new(name).unwrap_err().to_string();
            assert!(message.contains(part), "{name}: {message}");
        };
        assert_eq!(Namespace::new("/a/b_2").unwrap().topic("c"), "/a/b_2/c");
        check("", "slash");
        check("a/b", "begin with a slash");
        check("/", "must follow each slash");
        check("/a//b", "must follow each slash");
        check("/a/", "must follow each slash");
        check("/a/7", "digit");
        check("/dock-7", "underscores");
        check("/a/*", "underscores");
        check("/größe", "underscores");
        check(&format!("/{}", "a".repeat(200)), "at most 200");
    }

    #[test]
    fn a_cells_namespace_is_its_name_as_ros_can_have_it() {
        let of_cell = |name: &str| Namespace::of_cell(&CellName::new(name).unwrap());
        assert_eq!(of_cell("dock-7").unwrap().to_string(), "/magpie/dock_7");
        let message = of_cell("7").unwrap_err().to_string();
        assert!(message.contains("ros2.namespace"), "{message}");
    }
}
