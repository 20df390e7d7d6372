import CasherSystem

/// Lets one of several identical calls run while the others wait for its result.
///
/// A wait ends when the leader's turn ends: with a result that the waiters will find, with one that cannot be stored, or
/// because the leader died. A call never waits for a run that it is part of, directly or over other waiting calls.
final class SingleFlight: Sendable {
  /// How a leader's turn ended.
  enum Ending { case stored, notStored, died }

  private struct Flight {
    /// The leader's run, once it has one.
    var leader: Run?
    /// Turns that have ended, and how the last one did.
    var turns = 0
    var ending: Ending = .died
    var isBusy = true
    /// The runs in which calls wait here.
    var waiting: [ObjectIdentifier: Run] = [:]
    var waiters = 0
  }

  private let flights = Monitor<[Digest: Flight]>([:])

  enum Outcome {
    /// The caller leads: it must call `end`.
    case lead
    /// Another's turn ended so; look again.
    case ended(Ending)
    /// Run without leading: waiting would never end, or there is nobody to wait for and nothing that others could wait for.
    case alone
  }

  /// Takes the lead for a key, or waits for the present leader's turn to end. Who will leave no result (`mayLead` is false)
  /// never leads: others would wait for nothing, and for ever where the calls wait for each other.
  func enter(_ key: Digest, within parent: Run?, mayLead: Bool) -> Outcome {
    var joined: Int?
    let token = Token()
    return flights.wait { flights -> Outcome? in
      guard var flight = flights[key] else {
        guard mayLead else { return .alone }
        flights[key] = Flight()
        return .lead
      }
      if let turn = joined {
        if flight.turns == turn && flight.isBusy { return nil }
        flight.waiters -= 1
        flight.waiting[ObjectIdentifier(token)] = nil
        if flight.ending == .died && !flight.isBusy && mayLead {
          // The first to wake takes over.
          flight.isBusy = true
          flight.leader = nil
          flights[key] = flight
          return .lead
        }
        let ending = flight.ending
        flights[key] = flight.waiters == 0 && !flight.isBusy ? nil : flight
        return flight.ending == .died ? .ended(.died) : .ended(ending)
      }
      if !flight.isBusy {
        guard mayLead else { return .alone }
        flight.isBusy = true
        flight.leader = nil
        flights[key] = flight
        return .lead
      }
      if let parent {
        if SingleFlight.wouldDeadlock(parent, on: flight, flights) { return .alone }
        flight.waiting[ObjectIdentifier(token)] = parent
      }
      joined = flight.turns
      flight.waiters += 1
      flights[key] = flight
      return nil
    } ?? .alone
  }

  /// The leader's run, so that calls within it are known not to wait for it.
  func announce(_ run: Run, leads key: Digest) { flights.withLock { $0[key]?.leader = run } }

  /// Ends the leader's turn.
  func end(_ key: Digest, _ ending: Ending) {
    flights.update { flights in
      guard var flight = flights[key] else { return }
      flight.turns += 1
      flight.ending = ending
      flight.isBusy = false
      flight.leader = nil
      flights[key] = flight.waiters == 0 ? nil : flight
    }
  }

  private final class Token {}

  /// Whether the leader of `flight` can end only after `parent` has: it is around it, or a call within the leader waits
  /// for something that is.
  private static func wouldDeadlock(_ parent: Run, on flight: Flight, _ flights: [Digest: Flight]) -> Bool {
    guard let leader = flight.leader else { return false }
    var seen: [Run] = []
    var open = [leader]
    while let run = open.popLast() {
      if parent.isWithin(run) { return true }
      if seen.contains(where: { $0 === run }) { continue }
      seen.append(run)
      for other in flights.values where other.waiting.values.contains(where: { $0.isWithin(run) }) {
        if let next = other.leader { open.append(next) }
      }
    }
    return false
  }
}
