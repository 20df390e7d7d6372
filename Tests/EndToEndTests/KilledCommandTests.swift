import Foundation
import Testing

/// A command that is killed, with its acache or after it, in the middle.
@Suite("Killed commands", .serialized) struct KilledCommandTests {
  @Test("When the last process of a killed command has ended, the mount is unmounted at once")
  func unmounted() throws {
    let place = try Place()
    #expect(try place.casherfs("mount", place.work).status == 0)
    defer { _ = try? place.casherfs("unmount", "--lazy", place.work) }
    // acache goes first: the command is in its view still when that is given up.
    let killing = """
      acache -- sh -c 'sh -c "echo \\$\\$ > ../inner.new; mv ../inner.new ../inner; exec sleep 600"; true' \
        </dev/null >/dev/null 2>&1 & call=$!
      timeout 100 sh -c 'while ! test -s ../inner; do sleep 0.01; done' || { kill -KILL "$call"; exit 9; }
      read -r inner < ../inner; outer=$(ps -o ppid= -p "$inner")
      kill -KILL "$call"; wait "$call"
      kill -KILL $outer "$inner"
      timeout 100 sh -c 'while kill -0 "$0" 2>/dev/null; do sleep 0.01; done' "$inner"
      """
    #expect(try place.shell(killing).status == 0)
    let ended = try place.casherfs("unmount", place.work)
    #expect(ended.status == 0 && ended.error == "", "\(ended)")
  }
}
