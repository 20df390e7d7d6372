import Foundation
import Testing

@Suite("Idle processors are kept awake while many requests come")
struct WakeLatencyTests {
  /// A shell's script that has `daemon`, the process that serves the mount, and `held`: whether it claims wake-up latency.
  private func script(_ place: Place, _ body: String) throws -> Outcome {
    let status = try place.casherfs("status", "--json", place.work).json(as: [[String: Any]].self)
    let daemon = try #require(status.first?["process"] as? Int)
    return try place.shell(
      """
      daemon=\(daemon)
      held() { ls -l "/proc/$daemon/fd" | grep -q cpu_dma_latency; }
      \(body)
      """)
  }

  /// Makes requests until `held` says what is wanted; five minutes at most.
  private let burst = "burst() { timeout 300 sh -c 'while :; do ls -l d >/dev/null; done' & walker=$!; }"

  @Test("The claim is made during a burst of requests and given back after it")
  func claim() throws {
    guard getuid() == 0, access("/dev/cpu_dma_latency", W_OK) == 0 else { return }
    try withMount("-o", "timeout=0") { place in
      let outcome = try script(
        place,
        """
        mkdir d; (cd d; seq 500 | xargs touch)
        \(burst); burst
        until held; do kill -0 $walker || exit 9; done; echo claimed
        kill $walker; wait $walker 2>/dev/null
        i=0; while held; do i=$((i+1)); [ $i -lt 100000 ] || exit 8; done; echo given back
        """)
      #expect(outcome.output == "claimed\ngiven back\n", "\(outcome)")
    }
  }

  @Test("With -o no_awake no claim is ever made")
  func none() throws {
    try withMount("-o", "timeout=0,no_awake") { place in
      let outcome = try script(
        place,
        """
        mkdir d; (cd d; seq 500 | xargs touch)
        for i in $(seq 40); do ls -l d >/dev/null; held && echo claimed; done
        echo end
        """)
      #expect(outcome.output == "end\n", "\(outcome)")
    }
  }
}
