//! How the cell is doing, in the terms of `/diagnostics`.

use magpie_wire as wire;

use super::common::header;
use crate::messages::{DiagnosticArray, DiagnosticStatus, KeyValue};

/// The state, with each reason and what to do about it.
pub fn diagnostics(status: &wire::Status) -> DiagnosticArray {
    let reasons = status.coded_reasons();
    let texts: Vec<&str> = reasons.iter().map(|reason| reason.text.as_str()).collect();
    let state = status.state();
    let word = state.as_str_name().trim_start_matches("STATE_");
    let message =
        if texts.is_empty() { word.to_owned() } else { format!("{word}: {}", texts.join("; ")) };
    let mut values = vec![value("state", word)];
    for reason in &reasons {
        values.push(value(&format!("reason.{}", reason.code), &reason.text));
        if let Some(remedy) = wire::remedy(&reason.code) {
            values.push(value(&format!("remedy.{}", reason.code), remedy));
        }
    }
    let model = status.model.clone().unwrap_or_default();
    values.push(value("model", &model.name));
    values.push(value("model_sha256", &model.sha256));
    values.push(value("provider", &status.provider_got));
    values.push(value("calibration_id", &status.calibration_id));
    values.push(value("instance_id", &status.instance_id));
    if let Some(counters) = &status.counters {
        values.push(value("frames", &counters.frames.to_string()));
        values.push(value("results_published", &counters.results_published.to_string()));
        values.push(value("results_expired", &counters.results_expired.to_string()));
    }
    if let Some(latency) = &status.latency {
        values.push(value("latency_p50_ms", &format!("{:.1}", latency.p50_ms)));
        values.push(value("latency_p99_ms", &format!("{:.1}", latency.p99_ms)));
    }
    let cell = DiagnosticStatus {
        level: level(state, &reasons),
        name: format!("magpie: {}", status.cell),
        message,
        hardware_id: status.camera.clone(),
        values,
    };
    DiagnosticArray { header: header(status.sent_ns, ""), status: vec![cell] }
}

fn level(state: wire::State, reasons: &[wire::ReasonMessage]) -> u8 {
    match state {
        wire::State::Ok => DiagnosticStatus::OK,
        wire::State::Degraded if reasons.iter().any(wire::ReasonMessage::stops_results) => {
            DiagnosticStatus::ERROR
        }
        wire::State::Degraded => DiagnosticStatus::WARN,
        wire::State::Fault => DiagnosticStatus::ERROR,
        wire::State::Starting | wire::State::Unspecified => DiagnosticStatus::STALE,
    }
}

fn value(key: &str, value: &str) -> KeyValue {
    KeyValue { key: key.to_owned(), value: value.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use magpie_wire::Reason;

    fn check(state: wire::State, reasons: &[Reason], level: u8, message: &str) -> DiagnosticStatus {
        let status = wire::Status {
            cell: "dock-7".into(),
            sent_ns: 5_000_000_000,
            state: state.into(),
            reasons_coded: reasons.iter().map(Into::into).collect(),
            ..wire::Status::default()
        };
        let DiagnosticArray { header, status } = diagnostics(&status);
        let [status] = <[DiagnosticStatus; 1]>::try_from(status).unwrap();
        assert_eq!((header.stamp.sec, status.name.as_str()), (5, "magpie: dock-7"));
        assert_eq!((status.level, status.message.as_str()), (level, message));
        status
    }

    #[test]
    fn the_level_is_what_the_state_means_to_an_arm() {
        check(wire::State::Starting, &[], DiagnosticStatus::STALE, "STARTING");
        check(wire::State::Ok, &[], DiagnosticStatus::OK, "OK");
        let lost = [Reason::CameraLost { why: "unplugged".into() }];
        let message = "DEGRADED: camera lost: unplugged";
        check(wire::State::Degraded, &lost, DiagnosticStatus::ERROR, message);
        let fault = [Reason::Fault { why: "out of memory".into() }];
        check(wire::State::Fault, &fault, DiagnosticStatus::ERROR, "FAULT: out of memory");
    }

    #[test]
    fn a_reason_has_its_code_and_what_to_do() {
        let behind = [Reason::RecordingBehind];
        let message = format!("DEGRADED: {}", behind[0]);
        let status = check(wire::State::Degraded, &behind, DiagnosticStatus::WARN, &message);
        let value = |key: &str| {
            let found = status.values.iter().find(|value| value.key == key);
            found.map(|value| value.value.clone()).unwrap()
        };
        assert_eq!(value("reason.recording_behind"), behind[0].to_string());
        assert_eq!(value("remedy.recording_behind"), wire::remedy("recording_behind").unwrap());
    }
}
