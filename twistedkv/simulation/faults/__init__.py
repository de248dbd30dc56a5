"""What goes wrong in a run: drawn as a list before it begins (`drawing`), done as far as the promise of the cluster
allows (`scene`), by those who know how (`servers`, `links`, `coordinator`, `clients`), when its time has come
(`injection`)."""
