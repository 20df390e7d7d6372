import CYaml
import CasherSystem

/// Where something stands in a text; both count from 1.
public struct TextPosition: Hashable, Sendable {
  public var line: Int
  public var column: Int

  init(_ mark: yaml_mark_t) {
    line = Int(clamping: mark.line) &+ 1
    column = Int(clamping: mark.column) &+ 1
  }

  init(line: Int, column: Int) {
    self.line = line
    self.column = column
  }
}

/// What a YAML document says, with the place of each part. Aliases are followed.
struct YAMLNode {
  enum Content {
    /// `isPlain`: written without quotes.
    case scalar([UInt8], isPlain: Bool)
    case sequence([YAMLNode])
    case mapping([(key: YAMLNode, value: YAMLNode)])
  }

  let content: Content
  let position: TextPosition

  /// What is wrong with a text, and where.
  struct Problem: Error {
    let position: TextPosition
    let message: String
  }

  /// More than any configuration needs: aliases can make a short text endlessly deep or wide.
  private static let deepest = 16
  private static let most = 20_000

  /// The one document in the text; nil when it says nothing. libyaml reads it (YAML 1.1).
  static func parse(_ text: [UInt8]) throws(Problem) -> YAMLNode? {
    // libyaml keeps pointers to the parser and to the text.
    let parser = UnsafeMutablePointer<yaml_parser_t>.allocate(capacity: 1)
    defer { parser.deallocate() }
    guard yaml_parser_initialize(parser) == 1 else { throw outOfMemory }
    defer { yaml_parser_delete(parser) }
    let result = text.withUnsafeBufferPointer { buffer -> Result<YAMLNode?, Problem> in
      yaml_parser_set_input_string(parser, buffer.baseAddress, buffer.count)
      do throws(Problem) { return .success(try document(parser)) } catch { return .failure(error) }
    }
    return try result.get()
  }

  private static let outOfMemory = Problem(position: TextPosition(line: 1, column: 1), message: "there is no memory")

  private static func document(_ parser: UnsafeMutablePointer<yaml_parser_t>) throws(Problem) -> YAMLNode? {
    var first = yaml_document_t()
    guard yaml_parser_load(parser, &first) == 1 else { throw problem(parser.pointee) }
    defer { yaml_document_delete(&first) }
    guard let root = yaml_document_get_root_node(&first) else { return nil }
    var count = 0
    let node = try make(&first, root, depth: 0, &count)
    var next = yaml_document_t()
    guard yaml_parser_load(parser, &next) == 1 else { throw problem(parser.pointee) }
    defer { yaml_document_delete(&next) }
    if let second = yaml_document_get_root_node(&next) {
      throw Problem(
        position: TextPosition(second.pointee.start_mark), message: "a second document begins here; one is read")
    }
    return node
  }

  private static func problem(_ parser: yaml_parser_t) -> Problem {
    let message = parser.problem.map { String(cString: $0) } ?? "it cannot be read"
    let isReader = parser.error == YAML_READER_ERROR
    return Problem(
      position: TextPosition(isReader ? parser.mark : parser.problem_mark), message: "this is not YAML: \(message)")
  }

  private static func make(
    _ document: UnsafeMutablePointer<yaml_document_t>, _ pointer: UnsafeMutablePointer<yaml_node_t>, depth: Int,
    _ count: inout Int
  ) throws(Problem) -> YAMLNode {
    let node = pointer.pointee
    let position = TextPosition(node.start_mark)
    count += 1
    guard depth < deepest, count < most else {
      throw Problem(position: position, message: "this is nested too deeply, or too much")
    }
    if let tag = node.tag, !String(cString: tag).hasPrefix("tag:yaml.org,2002:") {
      throw Problem(position: position, message: "the tag \(String(cString: tag)) means nothing here")
    }
    func child(_ index: Int32) throws(Problem) -> YAMLNode {
      guard let found = yaml_document_get_node(document, index) else {
        throw Problem(position: position, message: "this cannot be read")
      }
      return try make(document, found, depth: depth + 1, &count)
    }
    switch node.type {
    case YAML_SCALAR_NODE:
      let bytes = Array(UnsafeBufferPointer(start: node.data.scalar.value, count: node.data.scalar.length))
      let isPlain = node.data.scalar.style == YAML_PLAIN_SCALAR_STYLE
      return YAMLNode(content: .scalar(bytes, isPlain: isPlain), position: position)
    case YAML_SEQUENCE_NODE:
      var elements: [YAMLNode] = []
      for index in items(node.data.sequence.items.start, node.data.sequence.items.top) {
        elements.append(try child(index))
      }
      return YAMLNode(content: .sequence(elements), position: position)
    case YAML_MAPPING_NODE:
      var pairs: [(key: YAMLNode, value: YAMLNode)] = []
      for pair in items(node.data.mapping.pairs.start, node.data.mapping.pairs.top) {
        pairs.append((try child(pair.key), try child(pair.value)))
      }
      return YAMLNode(content: .mapping(pairs), position: position)
    default: throw Problem(position: position, message: "this cannot be read")
    }
  }

  /// What lies between two of libyaml's pointers.
  private static func items<Item>(
    _ start: UnsafeMutablePointer<Item>?, _ top: UnsafeMutablePointer<Item>?
  ) -> UnsafeBufferPointer<Item> {
    guard let start, let top, top > start else { return UnsafeBufferPointer(start: nil, count: 0) }
    return UnsafeBufferPointer(start: start, count: top - start)
  }
}
