//! `healthCheck` in the ports of a `MeshService`.

use super::refuses;

/// The check stands on line 6.
fn port(source: &str, check: &str) -> String {
    format!(
        "apiVersion: weft.dev/v1alpha1\nkind: MeshService\nmetadata: {{name: a}}\nspec:\n  {source}\n  \
         ports: [{{port: 80}}, {{port: 81, healthCheck: {check}}}]\n"
    )
}

fn check(check: &str) -> String {
    port("workloads: {service: a}", check)
}

/// Each problem is in the check, at this field, which stands at this column.
fn is_refused(written: &str, problems: &[(u32, &str, &str)]) {
    let problem = |(column, field, reason): &(u32, &str, &str)| {
        format!("in.yaml:6:{column}: MeshService shop/a: spec.ports[1].healthCheck{field}: {reason}")
    };
    let problems: Vec<String> = problems.iter().map(problem).collect();
    let problems: Vec<&str> = problems.iter().map(String::as_str).collect();
    refuses(&[(&check(written), &problems)]);
}

#[test]
fn what_holds() {
    for written in [
        "{tcp: {}}",
        "{http: {path: /}, interval: 10s, timeout: 10s, healthyThreshold: 1, unhealthyThreshold: 1, port: 9000}",
        "{http: {path: '/a/b?c=d', host: 'a.example:80', statuses: [200, 599]}}",
        "{grpc: {}, timeout: 30s}",
        "{grpc: {service: a.b.C}, interval: 100ms}",
    ] {
        is_refused(written, &[]);
    }
}

#[test]
fn one_way_of_checking() {
    let none = "nothing says how the application is checked (add one of http, grpc, tcp)";
    is_refused("{interval: 5s}", &[(34, "", none)]);
    is_refused("{}", &[(34, "", none)]);
    let several = "an application is checked by exactly one of http, grpc and tcp, not by several";
    is_refused("{tcp: {}, grpc: {}}", &[(34, "", several)]);
    is_refused("{tcp: {}, grpc: {}, http: {path: /}}", &[(34, "", several)]);
    is_refused("{tcp: {port: 5}}", &[(54, ".tcp.port", "unknown field")]);
}

#[test]
fn times_and_thresholds() {
    let zero = "must be more than 0s";
    is_refused("{tcp: {}, interval: 0s}", &[(57, ".interval", zero)]);
    is_refused("{tcp: {}, timeout: 0s}", &[(57, ".timeout", zero)]);
    is_refused("{tcp: {}, interval: 0s, timeout: 0s}", &[(57, ".interval", zero), (71, ".timeout", zero)]);
    let longer = "2s is more than the interval of 1s";
    is_refused("{tcp: {}, interval: 1s, timeout: 2s}", &[(71, ".timeout", longer)]);
    let least = "expected at least 1, found 0";
    is_refused("{tcp: {}, healthyThreshold: 0}", &[(57, ".healthyThreshold", least)]);
    is_refused("{tcp: {}, unhealthyThreshold: 0}", &[(57, ".unhealthyThreshold", least)]);
    is_refused("{tcp: {}, port: 0}", &[(57, ".port", "expected a number from 1 to 65535, found 0")]);
}

#[test]
fn requests_that_can_be_sent() {
    let path = |path: &str| format!("{{http: {{path: {path:?}}}}}");
    is_refused(&path("healthz"), &[(55, ".http.path", r#""healthz" is not a path: it starts with /"#)]);
    is_refused(&path(""), &[(55, ".http.path", r#""" is not a path: it starts with /"#)]);
    for bad in ["/a b", "/a#b"] {
        is_refused(&path(bad), &[(55, ".http.path", &format!("{bad:?} is not a path of a request"))]);
    }
    is_refused("{http: {}}", &[(48, ".http.path", "is missing")]);
    is_refused("{http: {path: /, host: 'a b'}}", &[(64, ".http.host", r#""a b" is not a host"#)]);
    let status = |found: &str| format!("expected a number from 200 to 599, found {found}");
    is_refused(
        "{http: {path: /, statuses: [200, 99, 600]}}",
        &[(80, ".http.statuses[1]", &status("99")), (84, ".http.statuses[2]", &status("600"))],
    );
}

#[test]
fn somebody_must_check() {
    let reason = "has no effect: applications are checked by the sidecars of registered workloads \
                  (the endpoints of this service come from dns or static, not from workloads)";
    let problem = format!("in.yaml:6:34: MeshService shop/a: spec.ports[1].healthCheck: {reason}");
    for source in ["dns: {host: a.example, port: 80}", "static: [{address: '10.0.0.1:80'}]"] {
        refuses(&[(&port(source, "{tcp: {}}"), &[&problem])]);
    }
}
