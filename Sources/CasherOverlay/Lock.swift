import Glibc

/// A lock for state that is spread over many objects, which `Synchronization.Mutex` cannot hold.
/// The corresponding C type is `pthread_mutex_t`.
final class Lock: @unchecked Sendable {  // a mutex is made to be shared
  private let mutex = UnsafeMutablePointer<pthread_mutex_t>.allocate(capacity: 1)

  init() { pthread_mutex_init(mutex, nil) }

  deinit {
    pthread_mutex_destroy(mutex)
    mutex.deallocate()
  }

  func lock() { pthread_mutex_lock(mutex) }
  func unlock() { pthread_mutex_unlock(mutex) }
}
