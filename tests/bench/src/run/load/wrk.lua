-- What the orchestrator reads of a run, in one line. Latencies are in microseconds.
done = function(summary, latency)
  local e = summary.errors
  io.write(string.format("weft-bench requests=%d duration=%d failed=%d p50=%.1f p99=%.1f p999=%.1f\n",
    summary.requests, summary.duration, e.connect + e.read + e.write + e.status + e.timeout,
    latency:percentile(50), latency:percentile(99), latency:percentile(99.9)))
end
