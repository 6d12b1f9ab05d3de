//! Which cameras are there, and whether the configured one is among them.

use std::net::{IpAddr, Ipv4Addr, TcpStream, ToSocketAddrs};
use std::path::Path;
use std::time::Duration;

use magpie_camera::discover::{
    GigeCamera, KernelCamera, LocalNetworks, gige_cameras, kernel_cameras, network_cameras,
};
use magpie_camera::{CameraConfig, LiveConfig, LiveSource};
use magpie_daemon::config::{Config, Source};

use super::finding::Finding;

/// How long cameras have to answer, and a stream to be reached.
const PATIENCE: Duration = Duration::from_millis(1000);
const RTSP_PORT: u16 = 554;
const HTTP_PORT: u16 = 80;

/// What was found on this machine and, where that was asked for, on its networks.
#[derive(Default)]
pub(super) struct Cameras {
    kernel: Vec<KernelCamera>,
    gige: Vec<GigeCamera>,
    network: Vec<IpAddr>,
    asked_networks: bool,
    problem: Option<String>,
}

impl Cameras {
    pub(super) fn look(ask_networks: bool) -> Cameras {
        let mut cameras = Cameras { kernel: kernel_cameras(), ..Cameras::default() };
        if ask_networks {
            cameras.asked_networks = true;
            cameras.problem = cameras.ask_networks().err().map(|error| error.to_string());
        }
        cameras
    }

    fn ask_networks(&mut self) -> std::io::Result<()> {
        let networks = LocalNetworks::read()?;
        let everybody = [Ipv4Addr::LOCALHOST].into_iter().chain(networks.broadcast);
        let everybody: Vec<Ipv4Addr> = everybody.collect();
        std::thread::scope(|scope| {
            let gige = scope.spawn(|| gige_cameras(&everybody, PATIENCE));
            self.network = network_cameras(&networks.own, PATIENCE)?;
            self.gige = gige.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))?;
            Ok(())
        })
    }

    /// A line for each, with what the configuration would say.
    pub(super) fn findings(&self) -> Vec<Finding> {
        let kernel = self.kernel.iter().map(|KernelCamera { path, node }| {
            let (path, node) = (path.display(), node.display());
            format!("{path} ({node}): [source.v4l2] device = \"{path}\"")
        });
        let gige = self.gige.iter().map(|GigeCamera { address, maker, model, serial }| {
            format!(
                "GigE Vision {maker} {model} {serial}: [source.gstreamer] pipeline = \"aravissrc \
                 camera-name={address} ! appsink sync=false\""
            )
        });
        let network = self.network.iter().map(|address| {
            format!("network camera at {address}: [source.rtsp] url = \"rtsp://{address}/...\"")
        });
        let found = kernel.chain(gige).chain(network);
        let mut findings: Vec<Finding> = found.map(|one| Finding::good("camera", one)).collect();
        if findings.is_empty() {
            let (where_, more) = match self.asked_networks {
                true => ("on this machine or its networks", ""),
                false => ("on this machine", "; its networks were not asked"),
            };
            findings.push(Finding::note(
                "camera",
                format!("none answers {where_}{more}"),
                "check power and cable; `ls /dev/v4l/by-id` lists those of the kernel",
            ));
        }
        findings.extend(self.problem.as_ref().map(|problem| {
            let found = format!("the local networks could not be asked: {problem}");
            Finding::note("camera", found, "look at the network of this machine")
        }));
        findings
    }

    /// Whether the camera that a configuration names is there.
    pub(super) fn check(&self, config: &Config) -> Option<Finding> {
        let Source::Camera(CameraConfig::Live(LiveConfig { source, .. })) = &config.source else {
            return None;
        };
        Some(match source {
            LiveSource::V4l2(camera) => self.check_kernel_camera(&camera.device),
            LiveSource::Rtsp(stream) => check_stream(&stream.url),
            LiveSource::GStreamer(pipeline) => self.check_pipeline(&pipeline.pipeline)?,
        })
    }

    fn check_kernel_camera(&self, device: &Path) -> Finding {
        let shown = device.display();
        if device.exists() {
            return Finding::good("source", format!("{shown} is plugged in"));
        }
        let there: Vec<String> =
            self.kernel.iter().map(|camera| camera.path.display().to_string()).collect();
        let remedy = if there.is_empty() {
            "plug it in, and check its power".to_owned()
        } else {
            format!("plug it in, or name one of those that are there: {}", there.join(", "))
        };
        Finding::mend("source", format!("there is no {shown}"), remedy)
    }

    /// Only `aravissrc` says in the pipeline whom it means. `None`: nothing is known of this one.
    fn check_pipeline(&self, pipeline: &str) -> Option<Finding> {
        let name = pipeline.split_once("camera-name=")?.1;
        let name = name.split([' ', '!']).next()?.trim_matches(['"', '\'']);
        let address: Ipv4Addr = name.parse().ok().filter(|_| self.asked_networks)?;
        let is_it = |camera: &&GigeCamera| camera.address == address;
        Some(match self.gige.iter().find(is_it) {
            Some(camera) => {
                let GigeCamera { maker, model, serial, .. } = camera;
                Finding::good("source", format!("{maker} {model} {serial} answers at {address}"))
            }
            None => Finding::mend(
                "source",
                format!("no GigE Vision camera answers at {address}"),
                "check its power, its cable, and whether its address is in this machine's network",
            ),
        })
    }
}

/// Whether the server of a stream can be reached. The URL may hold a password, so it is not shown.
fn check_stream(url: &str) -> Finding {
    let Some((host, port)) = server_of(url) else {
        return Finding::note("source", "the server of the stream cannot be told from its URL", "");
    };
    let addresses = match (&*host, port).to_socket_addrs() {
        Ok(addresses) => addresses,
        Err(error) => {
            let found = format!("the stream's server {host} is not known here: {error}");
            return Finding::mend("source", found, "give its address in place of its name");
        }
    };
    let reached = addresses.map(|address| TcpStream::connect_timeout(&address, PATIENCE));
    let reached = reached.reduce(Result::or);
    match reached {
        Some(Ok(_)) => {
            Finding::good("source", format!("the stream's server answers at {host}:{port}"))
        }
        Some(Err(error)) => Finding::mend(
            "source",
            format!("the stream's server does not answer at {host}:{port}: {error}"),
            "check the camera's power, its cable and its address",
        ),
        None => Finding::mend("source", format!("{host} has no address"), "name another server"),
    }
}

/// Host and port of `scheme://user:password@host:port/path`.
fn server_of(url: &str) -> Option<(String, u16)> {
    let (scheme, rest) = url.split_once("://")?;
    let usual = match scheme {
        "rtsp" | "rtspt" | "rtspu" => RTSP_PORT,
        "http" => HTTP_PORT,
        _ => return None,
    };
    let authority = rest.split(['/', '?']).next()?;
    let server = authority.rsplit_once('@').map_or(authority, |(_, server)| server);
    let (host, port) = match server.rsplit_once(':') {
        Some((host, port)) if !port.contains(']') => (host, port.parse().ok()?),
        _ => (server, usual),
    };
    let host = host.trim_matches(['[', ']']);
    (!host.is_empty()).then(|| (host.to_owned(), port))
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;
    use crate::doctor::finding::Verdict;

    #[test]
    fn a_server_is_read_from_a_url() {
        for (url, expected) in [
            ("rtsp://192.168.5.11/stream", Some(("192.168.5.11", 554))),
            ("rtsp://a:p@ss@cam:8554/x", Some(("cam", 8554))),
            ("http://cam?x", Some(("cam", 80))),
            ("rtsp://[::1]:8554/x", Some(("::1", 8554))),
            ("rtsp://[::1]/x", Some(("::1", 554))),
            ("rtsp:///x", None),
            ("rtsp://cam:port/", None),
            ("file:///a", None),
            ("odd", None),
        ] {
            let server = server_of(url);
            let expected = expected.map(|(host, port)| (host.to_owned(), port));
            assert_eq!(server, expected, "{url}");
        }
    }

    #[test]
    fn a_server_that_does_not_listen_is_told_without_the_password() {
        let server = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("rtsp://user:hidden@{}/x", server.local_addr().unwrap());
        assert_eq!(check_stream(&url).verdict, Verdict::Good);
        drop(server);
        let finding = check_stream(&url);
        assert_eq!(finding.verdict, Verdict::Mend);
        assert!(!finding.line().contains("hidden"), "{}", finding.line());
    }

    #[test]
    fn a_camera_that_is_missing_is_told_with_those_that_are_there() {
        let there = KernelCamera { path: "/dev/v4l/by-id/b".into(), node: "/dev/video0".into() };
        let cameras = Cameras { kernel: vec![there], ..Cameras::default() };
        let finding = cameras.check_kernel_camera(Path::new("/dev/v4l/by-id/a"));
        assert_eq!(finding.verdict, Verdict::Mend);
        assert!(finding.line().contains("by-id/a") && finding.remedy.contains("by-id/b"));
        assert_eq!(cameras.findings().len(), 1);
        let none = Cameras::default().findings();
        assert!(none[0].found.contains("not asked"), "{}", none[0].line());
    }

    #[test]
    fn a_gige_camera_is_looked_for_at_its_address() {
        let there = GigeCamera {
            address: Ipv4Addr::new(10, 0, 0, 9),
            maker: "Acme".into(),
            model: "X".into(),
            serial: "1".into(),
        };
        let cameras = Cameras { gige: vec![there], asked_networks: true, ..Cameras::default() };
        let verdict = |pipeline| cameras.check_pipeline(pipeline).map(|finding| finding.verdict);
        assert_eq!(verdict("aravissrc camera-name=10.0.0.9 ! appsink"), Some(Verdict::Good));
        assert_eq!(verdict("aravissrc camera-name=\"10.0.0.8\" ! appsink"), Some(Verdict::Mend));
        assert_eq!(verdict("aravissrc camera-name=Acme-1 ! appsink"), None);
        assert_eq!(verdict("videotestsrc ! appsink"), None);
    }
}
