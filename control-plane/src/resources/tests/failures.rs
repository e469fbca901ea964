//! The policies for failures, of a `TrafficPolicy` and of the `MeshConfig`'s defaults.

use super::{objects, refuses};

/// Toward a service; `spec` stands on line 6.
fn toward(spec: &str) -> String {
    on("{kind: MeshService, name: a}", spec)
}

/// Of a route; `spec` stands on line 6.
fn of_route(spec: &str) -> String {
    on("{kind: HTTPRoute, name: a}", spec)
}

fn on(target: &str, spec: &str) -> String {
    format!(
        "apiVersion: weft.dev/v1alpha1\nkind: TrafficPolicy\nmetadata: {{name: p}}\nspec:\n  targetRef: {target}\n  {spec}\n"
    )
}

/// Policies that are each wrong in one way: the YAML, and what is said of it after `TrafficPolicy shop/p: `.
#[track_caller]
fn refuses_each(cases: &[(String, &str, &str)]) {
    for (yaml, place, problem) in cases {
        refuses(&[(yaml, &[&format!("in.yaml:{place}: TrafficPolicy shop/p: {problem}")])]);
    }
}

#[test]
fn a_field_without_effect_on_the_target_is_refused() {
    refuses_each(&[
        (
            of_route("bulkhead: {maxRequests: 1}"),
            "6:3",
            "spec.bulkhead: bulkhead is a policy toward a service, but targetRef names a route",
        ),
        (
            of_route("retryBudget: {percent: 1}"),
            "6:3",
            "spec.retryBudget: retryBudget is a policy toward a service, but targetRef names a route",
        ),
        (
            of_route("timeouts: {connect: 1s, request: 1s}"),
            "6:14",
            "spec.timeouts.connect: connect is a policy toward a service, but targetRef names a route",
        ),
        (
            of_route("fallback: {backendRef: {name: b}, response: {}}"),
            "6:14",
            "spec.fallback.backendRef: backendRef is a policy toward a service, but targetRef names a route",
        ),
        (
            on("{kind: GRPCRoute, name: a}", "cache: {}"),
            "6:3",
            "spec.cache: answers to gRPC calls, which are POST requests, are not kept",
        ),
        (toward("timeouts: {}"), "4:1", "spec: the policy says nothing beside its target"),
    ]);
}

#[test]
fn retries() {
    refuses_each(&[
        (
            of_route("retry: {attempts: 11}"),
            "6:11",
            "spec.retry.attempts: from 0 to 10 retries, not 11: each is load for a service that fails",
        ),
        (
            of_route("retry: {when: {statuses: [503, 200]}}"),
            "6:34",
            "spec.retry.when.statuses[1]: a status that is retried is from 400 to 599, unlike 200",
        ),
        (
            of_route("retry: {when: {grpcCodes: [unavailable]}}"),
            "6:30",
            r#"spec.retry.when.grpcCodes[0]: there is no gRPC code "unavailable" (did you mean "UNAVAILABLE"?)"#,
        ),
        (
            of_route("retry: {when: {grpcCodes: [BUSY]}}"),
            "6:30",
            r#"spec.retry.when.grpcCodes[0]: there is no gRPC code "BUSY" (write it as UNAVAILABLE)"#,
        ),
        (
            of_route("retry: {when: {grpcCodes: [OK]}}"),
            "6:30",
            "spec.retry.when.grpcCodes[0]: OK is no failure that could be retried",
        ),
        (
            of_route("retry: {when: {status: [503]}}"),
            "6:18",
            r#"spec.retry.when.status: unknown field (did you mean "statuses"?)"#,
        ),
        (
            of_route("retry: {backoff: {base: 1s, max: 500ms}}"),
            "6:31",
            "spec.retry.backoff.max: 500ms is not more than the base of 1s (for a wait that does not grow, write type: Fixed)",
        ),
        (
            of_route("retry: {backoff: {type: Fixed, base: 1s, max: 2s}}"),
            "6:44",
            "spec.retry.backoff.max: max has no effect beside the type Fixed",
        ),
        (
            of_route("retry: {backoff: {type: Fixed}}"),
            "6:11",
            "spec.retry.backoff: a wait that is fixed has a base (add base: 100ms)",
        ),
        (
            of_route("retry: {backoff: {type: None, base: 1s}}"),
            "6:33",
            "spec.retry.backoff.base: base has no effect beside the type None",
        ),
        (
            of_route("retry: {backoff: {type: Linear}}"),
            "6:21",
            r#"spec.retry.backoff.type: expected one of None, Fixed, Exponential, found "Linear""#,
        ),
        (
            of_route("retry: {maxBody: 64kb}"),
            "6:11",
            r#"spec.retry.maxBody: "64kb" is not a size: write it as 512, 64Ki or 1Mi"#,
        ),
        (
            of_route("retry: {maxBody: 65536}"),
            "6:11",
            r#"spec.retry.maxBody: expected text, found the number 65536 (write it in quotes: "65536")"#,
        ),
        (
            of_route("retry: {attempts: 0, hedge: {after: 50ms}}"),
            "6:24",
            "spec.retry.hedge: hedged requests count as retries, of which attempts allows none",
        ),
        (
            of_route("retry: {attempts: 1, hedge: {after: 50ms, attempts: 2}}"),
            "6:45",
            "spec.retry.hedge.attempts: hedged requests count as retries, of which attempts allows 1",
        ),
        (
            of_route("retry: {anyMethod: true, hedge: {after: 50ms}}"),
            "6:28",
            "spec.retry.hedge: a hedged request is done twice as a rule, so that it is for idempotent methods: not with anyMethod",
        ),
        (of_route("retry: {hedge: {after: 0s}}"), "6:19", "spec.retry.hedge.after: must be more than 0s"),
        (of_route("retry: {hedge: {attempts: 1}}"), "6:11", "spec.retry.hedge.after: is missing"),
        (
            toward("retryBudget: {percent: 101}"),
            "6:17",
            "spec.retryBudget.percent: expected a number from 0 to 100, found 101",
        ),
    ]);
}

#[test]
fn timeouts_fit_into_each_other() {
    // Zero is no limit.
    objects(&of_route("timeouts: {request: 0s, backendRequest: 5s, total: 0s}"));
    refuses_each(&[
        (
            of_route("timeouts: {request: 1s, backendRequest: 2s}"),
            "6:27",
            "spec.timeouts.backendRequest: one attempt may not take longer than the request that it is a part of (timeouts.request)",
        ),
        (
            of_route("timeouts: {request: 1s, responseHeader: 2s}"),
            "6:27",
            "spec.timeouts.responseHeader: the wait for a response may not take longer than the request that it is a part of (timeouts.request)",
        ),
        (
            of_route("timeouts: {backendRequest: 1s, responseHeader: 2s}"),
            "6:34",
            "spec.timeouts.responseHeader: the wait for a response may not take longer than the attempt that it is a part of (timeouts.backendRequest)",
        ),
        (
            of_route("timeouts: {request: 2s, total: 1s}"),
            "6:27",
            "spec.timeouts.total: it ends with the response's last byte, and may not be shorter than timeouts.request",
        ),
        (
            of_route("timeouts: {backendRequest: 2s, total: 1s}"),
            "6:34",
            "spec.timeouts.total: it ends with the response's last byte, and may not be shorter than timeouts.backendRequest",
        ),
        (
            of_route("timeouts: {perTry: 1s}"),
            "6:14",
            "spec.timeouts.perTry: unknown field (fields here: connect, request, backendRequest, responseHeader, idle, total)",
        ),
    ]);
}

#[test]
fn load_balancers() {
    refuses_each(&[
        (
            toward("loadBalancer: {type: RingHash}"),
            "6:3",
            "spec.loadBalancer: RingHash needs hashOn, what of a request is hashed (add hashOn: {header: x-user}, or cookie, query or sourceIP)",
        ),
        (
            toward("loadBalancer: {type: RoundRobin, hashOn: {header: x-user}}"),
            "6:36",
            "spec.loadBalancer.hashOn: only RingHash and Maglev hash something (write type: RingHash or type: Maglev)",
        ),
        (
            toward("loadBalancer: {hashOn: {header: x-user}}"),
            "6:18",
            "spec.loadBalancer.hashOn: only RingHash and Maglev hash something (write type: RingHash or type: Maglev)",
        ),
        (
            toward("loadBalancer: {type: Maglev, hashOn: {header: ''}}"),
            "6:41",
            r#"spec.loadBalancer.hashOn.header: "" is not a header name"#,
        ),
        (
            toward("loadBalancer: {type: Maglev, hashOn: {cookie: 'a b'}}"),
            "6:41",
            r#"spec.loadBalancer.hashOn.cookie: "a b" is not a cookie name"#,
        ),
        (
            toward("loadBalancer: {type: Maglev, hashOn: {query: ''}}"),
            "6:41",
            "spec.loadBalancer.hashOn.query: a query parameter has a name",
        ),
        (
            toward("loadBalancer: {type: Maglev, hashOn: {header: a, sourceIP: true}}"),
            "6:32",
            "spec.loadBalancer.hashOn: expected exactly one of header, cookie, query and sourceIP: true",
        ),
        (
            toward("loadBalancer: {type: Maglev, hashOn: {sourceIP: false}}"),
            "6:32",
            "spec.loadBalancer.hashOn: expected exactly one of header, cookie, query and sourceIP: true",
        ),
        (
            toward("loadBalancer: {panicPercent: 101}"),
            "6:18",
            "spec.loadBalancer.panicPercent: expected a number from 0 to 100, found 101",
        ),
        (
            toward("loadBalancer: {zone: {minHealthyPercent: -1}}"),
            "6:25",
            "spec.loadBalancer.zone.minHealthyPercent: expected a number from 0 to 100, found -1",
        ),
    ]);
}

#[test]
fn circuit_breakers_and_bulkheads() {
    refuses_each(&[
        (
            toward("circuitBreaker: {slowCall: {ratePercent: 50}}"),
            "6:20",
            "spec.circuitBreaker.slowCall.longerThan: is missing",
        ),
        (
            toward("circuitBreaker: {slowCall: {longerThan: 0s}}"),
            "6:31",
            "spec.circuitBreaker.slowCall.longerThan: must be more than 0s",
        ),
        (
            toward("circuitBreaker: {minAvailable: 1}"),
            "6:20",
            "spec.circuitBreaker.minAvailable: unknown field (fields here: failureRatePercent, minimumRequests, window, consecutiveFailures, open, halfOpen, slowCall, dryRun)",
        ),
        (
            toward("endpointCircuitBreaker: {minAvailable: 0}"),
            "6:28",
            "spec.endpointCircuitBreaker.minAvailable: expected at least 1, found 0",
        ),
        (
            toward("endpointCircuitBreaker: {maxEjectedPercent: 0}"),
            "6:28",
            "spec.endpointCircuitBreaker.maxEjectedPercent: expected a number from 1 to 100, found 0",
        ),
        (toward("bulkhead: {}"), "6:3", "spec.bulkhead: expected at least one of maxConnections and maxRequests"),
        (
            toward("bulkhead: {maxConnections: 1, maxWaiting: 1}"),
            "6:33",
            "spec.bulkhead.maxWaiting: requests wait for one of maxRequests to end, and without it there is none (add maxRequests)",
        ),
        (
            toward("bulkhead: {maxRequests: 1, maxWait: 1s}"),
            "6:30",
            "spec.bulkhead.maxWait: no request may wait (add maxWaiting)",
        ),
        (
            toward("bulkhead: {maxConnections: 1, adaptive: {min: 1}}"),
            "6:33",
            "spec.bulkhead.adaptive: the limit adapts between adaptive.min and maxRequests, and without it there is none (add maxRequests)",
        ),
        (
            toward("bulkhead: {maxRequests: 5, adaptive: {min: 6}}"),
            "6:41",
            "spec.bulkhead.adaptive.min: 6 is more than maxRequests, 5",
        ),
        (toward("bulkhead: {maxRequests: 0}"), "6:14", "spec.bulkhead.maxRequests: expected at least 1, found 0"),
    ]);
}

#[test]
fn faults() {
    refuses_each(&[
        (
            of_route("fault: {header: {name: a, value: b}}"),
            "6:3",
            "spec.fault: expected at least one of delay and abort",
        ),
        (
            of_route("fault: {header: {name: 'a b', value: b}, delay: {duration: 1s}}"),
            "6:20",
            r#"spec.fault.header.name: "a b" is not a header name"#,
        ),
        (of_route("fault: {delay: {duration: 0s}}"), "6:19", "spec.fault.delay.duration: must be more than 0s"),
        (
            of_route("fault: {delay: {duration: 1s, percent: 101}}"),
            "6:33",
            "spec.fault.delay.percent: 101 is not a percentage: from 0 to 100, with up to four decimals",
        ),
        (
            of_route("fault: {abort: {status: 503, percent: '0.00001'}}"),
            "6:32",
            r#"spec.fault.abort.percent: "0.00001" is not a percentage: from 0 to 100, with up to four decimals"#,
        ),
        (
            of_route("fault: {abort: {status: 100}}"),
            "6:19",
            "spec.fault.abort.status: a request is answered with a status from 200 to 599, not 100",
        ),
        (
            of_route("fault: {abort: {grpcCode: INTERNL}}"),
            "6:19",
            r#"spec.fault.abort.grpcCode: there is no gRPC code "INTERNL" (did you mean "INTERNAL"?)"#,
        ),
        (
            of_route("fault: {abort: {percent: 1}}"),
            "6:11",
            "spec.fault.abort: expected at least one of status and grpcCode",
        ),
    ]);
}

#[test]
fn kept_and_fixed_answers() {
    refuses_each(&[
        (
            of_route("cache: {staleIfError: 1m, maxSize: '0'}"),
            "6:29",
            "spec.cache.maxSize: no answer could be kept, so that staleIfError has none to give",
        ),
        (of_route("cache: {staleIfError: 0s}"), "6:11", "spec.cache.staleIfError: must be more than 0s"),
        (
            of_route("cache: {maxSize: 1Mi, maxEntrySize: 2Mi}"),
            "6:25",
            "spec.cache.maxEntrySize: one answer may not be larger than all together (cache.maxSize)",
        ),
        (
            of_route("fallback: {response: {status: 204, body: sorry}}"),
            "6:38",
            "spec.fallback.response.body: a response with the status 204 has no body (RFC 9110)",
        ),
        (
            of_route("fallback: {response: {status: 304, body: sorry}}"),
            "6:38",
            "spec.fallback.response.body: a response with the status 304 has no body (RFC 9110)",
        ),
        (
            of_route("fallback: {response: {status: 100}}"),
            "6:25",
            "spec.fallback.response.status: expected a number from 200 to 599, found 100",
        ),
        (
            of_route("fallback: {response: {headers: [{name: content-length, value: '5'}]}}"),
            "6:36",
            "spec.fallback.response.headers[0].name: content-length belongs to the connection, which the proxy speaks for",
        ),
        (of_route("fallback: {}"), "6:3", "spec.fallback: expected at least one of backendRef and response"),
    ]);
}

#[test]
fn defaults_of_the_mesh() {
    let config = "apiVersion: weft.dev/v1alpha1\nkind: MeshConfig\nmetadata: {name: default}\nspec:\n";
    refuses(&[(
        &format!(
            "{config}  defaults: {{retry: {{attempts: 20}}, timeouts: {{request: 2s, total: 1s}}, retryBudget: {{percent: 200}}, fault: {{}}}}\n"
        ),
        &[
            "in.yaml:5:87: MeshConfig default: spec.defaults.retryBudget.percent: expected a number from 0 to 100, found 200",
            "in.yaml:5:102: MeshConfig default: spec.defaults.fault: unknown field (fields here: loadBalancer, circuitBreaker, endpointCircuitBreaker, bulkhead, retryBudget, timeouts, retry)",
            "in.yaml:5:61: MeshConfig default: spec.defaults.timeouts.total: it ends with the response's last byte, and may not be shorter than timeouts.request",
            "in.yaml:5:22: MeshConfig default: spec.defaults.retry.attempts: from 0 to 10 retries, not 20: each is load for a service that fails",
        ],
    )]);
}
