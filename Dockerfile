# docker build -t specmask .
# docker run --rm -v "$PWD:/work" specmask enhance noisy/ cleaned/
FROM python:3.12-slim
COPY . /specmask
RUN pip install --no-cache-dir "/specmask[train]" && rm -r /specmask
WORKDIR /work
ENTRYPOINT ["specmask"]
CMD ["--help"]
