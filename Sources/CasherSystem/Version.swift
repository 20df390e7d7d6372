/// The version of Casher that this program belongs to (semver.org); CHANGELOG.md says what each brought.
public enum CasherVersion {
  public static let current = "0.1.0"
}
