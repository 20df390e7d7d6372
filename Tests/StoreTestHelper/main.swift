import CasherStore
print("hello")
