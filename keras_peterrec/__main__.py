"""`python -m keras_peterrec` is `keras-peterrec`."""

from keras_peterrec.cli import main

if __name__ == "__main__":
    main()
